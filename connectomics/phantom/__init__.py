"""A seeded generator of XNH-like white matter: labels, X-ray, EM and skeletons, exact block by block."""
