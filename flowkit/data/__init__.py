"""Images and tables in, as plain numpy: embedded, named and your own.

`load` loads:

- `"fashion-mnist"`: 5,000 train and 1,000 test images, 28x28 grey, carried by flowkit.
- `"fashion-mnist-full"`: all 60,000 and 10,000, from Debian's package dataset-fashion-mnist.
- `"digits"`: scikit-learn's 1,437 and 360 images, 8x8 with 17 levels.
- a folder of images (png, jpg, jpeg, bmp, webp), searched recursively; sub-folders are the labels;
  `train` and `test` sub-folders are the splits.
- a folder of MNIST-style IDX files, gzipped or not, or one such file of images.
- a folder of CIFAR-10's binary version.
- a folder of parquet files with images, as Hugging Face stores them, or one such file.
- an .npy file, or an .npz file with train_images and test_images, x_train and x_test, or images;
  `file.npz:name` if it holds several.

What is read may take half of this machine's memory; no file runs code, and no pickle is read. With `in_memory=False`
folders and .npy files stay on the disk, and rows are read when they are indexed: `LazyImages`.

`load_table` loads a table, a .csv, .tsv, .parquet, .npy or .npz file; `Columns` are the columns of a frame, by name.

`validate_images` checks arrays that you have already, `batches` puts them in an order that can be
resumed, `augment` shifts, mirrors, crops and distorts them, `Dequantize` makes them continuous, `VariationalDequantize`
does by learned noise. `content_hash` is equal for equal data sets.
"""

from flowkit.data import augment
from flowkit.data.batch_order import Batches, batches
from flowkit.data.dataset import Dataset, LazyImages, content_hash
from flowkit.data.dequantize import Dequantize, GaussianNoise, VariationalDequantize
from flowkit.data.frame import Columns
from flowkit.data.source import NAMES, absolute, load
from flowkit.data.table import Table, load_table
from flowkit.data.validate import validate_images, validate_labels

__all__ = [
    "NAMES",
    "Batches",
    "Columns",
    "Dataset",
    "Dequantize",
    "GaussianNoise",
    "LazyImages",
    "Table",
    "VariationalDequantize",
    "absolute",
    "augment",
    "batches",
    "content_hash",
    "load",
    "load_table",
    "validate_images",
    "validate_labels",
]
