"""The views, a blueprint per topic. Each asks the services what it shows, and knows nothing of the others."""
