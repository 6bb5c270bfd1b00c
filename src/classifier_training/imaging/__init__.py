"""From the bytes of one image file to an upright RGB array and to the network input, with numpy and Pillow.

No torch.
"""
