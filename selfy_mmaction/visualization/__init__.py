"""Every picture, of numbers and frames that other folders computed."""
import matplotlib

# Names of classes and files are no formulas.
matplotlib.rcParams['text.parse_math'] = False
