"""Training jobs: `qkan train` and `qkan sweep`, from a configuration in a file to a folder of results."""
