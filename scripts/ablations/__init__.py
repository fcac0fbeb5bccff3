"""The studies of scripts.ablate, one module each with its STUDY: arms, how they train, how they are scored."""
