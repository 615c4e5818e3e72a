"""Pictures of what networks see and of how they fare."""
import matplotlib

# Names of classes and files are no formulas.
matplotlib.rcParams['text.parse_math'] = False
