"""Reports on tested samples that MMAction2 lacks."""
