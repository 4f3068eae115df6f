"""Start each picture of the gallery with the same style and seed, independent of earlier pictures."""

import keras
import matplotlib.pyplot as plt


def plain_start(gallery_conf, fname):
    plt.close("all")
    plt.matplotlib.rc_file_defaults()
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
