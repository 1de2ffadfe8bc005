"""Faces as the objects of other toolkits; each module needs the package that it is named after."""
