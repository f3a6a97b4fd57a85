"""The video sets of the papers: UCF11, UCF50, UCF101, HMDB51 and YouTube Celebrities.

`prepare` decodes an official archive once into a TFDS data set; `load` reads it by protocol.
"""

from ht_jax.data.video.cnn import FrozenCNN as FrozenCNN
from ht_jax.data.video.cnn import frozen_cnn as frozen_cnn
from ht_jax.data.video.cnn import side as side
from ht_jax.data.video.layouts import LAYOUTS as LAYOUTS
from ht_jax.data.video.preparing import BadData as BadData
from ht_jax.data.video.preparing import Report as Report
from ht_jax.data.video.preparing import Size as Size
from ht_jax.data.video.preparing import prepare as prepare
from ht_jax.data.video.protocols import PROTOCOLS as PROTOCOLS
from ht_jax.data.video.reading import describe as describe
from ht_jax.data.video.reading import load as load
