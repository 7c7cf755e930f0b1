"""Writes centers.pt: what `torch.save(criterion.state_dict(), path)` writes for a criterion with a parameter `centers`.

PyTorch's format is a zip archive of a pickle and of the raw storages; the pickle names PyTorch's own functions without
needing them, so Python's standard library is enough. Run it in this directory to make the file anew.
"""

import collections
import pickle
import struct
import sys
import types
import zipfile

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]

torch = types.ModuleType("torch")
torch_utils = types.ModuleType("torch._utils")


class FloatStorage:
    pass


def _rebuild_tensor_v2():
    pass


FloatStorage.__module__ = "torch"
_rebuild_tensor_v2.__module__ = "torch._utils"
torch.FloatStorage = FloatStorage
torch_utils._rebuild_tensor_v2 = _rebuild_tensor_v2
sys.modules.update({"torch": torch, "torch._utils": torch_utils})


class Storage:
    pass


class Tensor:
    def __reduce__(self):
        shape, stride = (len(ROWS), len(ROWS[0])), (len(ROWS[0]), 1)
        arguments = (Storage(), 0, shape, stride, False, collections.OrderedDict())
        return _rebuild_tensor_v2, arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", FloatStorage, "0", "cpu", sum(map(len, ROWS)))
        return None


values = [value for row in ROWS for value in row]
with zipfile.ZipFile("centers.pt", "w", zipfile.ZIP_STORED) as archive:
    with archive.open("centers/data.pkl", "w") as file:
        Pickler(file, protocol=2).dump(collections.OrderedDict(centers=Tensor()))
    archive.writestr("centers/byteorder", "little")
    archive.writestr("centers/data/0", struct.pack(f"<{len(values)}f", *values))
    archive.writestr("centers/version", "3\n")
