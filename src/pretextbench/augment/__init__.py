"""A recipe in, pixels out: every augmentation on the device, frozen to a policy file. The home of Kornia."""
