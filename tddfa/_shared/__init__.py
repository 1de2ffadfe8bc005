"""What every package uses: checks of arrays, files that appear whole, images and ``.npz`` from disk."""
