"""Every picture, of numbers and frames that other folders computed."""
