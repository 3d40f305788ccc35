"""Colorization: given the lightness of an image, which colours belong to it? (Zhang 2016, arXiv:1603.08511)

In CIE Lab the network sees L and predicts ab at every stride-th pixel, as a distribution over Q = 313 bins of the ab
plane (`bins`). With Z the soft code of the true colour over its k nearest bins and v its weight (equations 6 and 7 of
the lesson; 2, the loss, and 3, the weight, of the paper):

    loss = -(1 / Bhw) sum_{i,h,w} v(Z_ihw) sum_q Z_ihwq log p_ihwq       in nats
    v(Z) = w[argmax_q Z_q],  w_q ~ 1 / ((1 - lambda) p~_q + lambda / Q),  sum_q p~_q w_q = 1

p~ is the mean of Z over the training images, measured in the augment stage: the colour histogram, smoothed with the
same Gaussian as the code. `k_nearest: 1` is equation 6 to the letter. A picture is made from the annealed mean,
sum_q c_q softmax(log p / T)_q at T = 0.38. `variant: regression` is the straightforward alternative, the squared error
of ab. Conversion, code and loss are computed in float32 outside autocast: in half precision ab is off by 0.4.

Targets are every stride-th pixel and not averages: an average over an edge is a greyer colour that is nowhere in the
image, and would teach the network to be timid. The pixels taken are those at which the encoder's windows are centred.

The encoder sees L / 100 in all three channels: the paper's lightness, scaled to [0, 1], computed by the encoder itself
from RGB. So it is given colour images downstream like any other and sees of them what it saw in training; colour is
lost to it, as it was to the paper's network when its features were judged. Given the colours, it does worse than
without them: they are nothing it was trained on (docs/fidelity.md has the measurement). Luma would be another grey, but
the picture is L and ab put together, and luma is not L.

Defined for: a grey image (|a| and |b| never above 5), black and constant ones included, has weight zero but counts in
the mean, and is left out of p~; a batch of only grey images has loss 0 and gradients 0. No augmentation may change
colour: it would change the answer.
"""

from pretext_colorization.colorization import Colorization, Params

__all__ = ["Colorization", "Params"]
