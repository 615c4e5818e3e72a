"""All pictures of numbers and frames that other folders compute."""
import matplotlib

# Names of classes and files are not formulas.
matplotlib.rcParams['text.parse_math'] = False
