"""Used by all packages: checks of arrays, atomic writes, images and ``.npz`` files, settings from yml, errors."""
