"""The file of a store on disk: find, create, open and recover the file."""
