"""The types of all that `ht_jax` exports are complete, as a user's type checker sees them.

`pyright --verifytypes` counts; what stays unknown is what libraries without types make so.
"""

import json
import subprocess
import sys

# A symbol's beginning, and whose types are missing.
FOREIGN = {
    "ht_jax.data.moving_digits.MovingDigits": "tensorflow_datasets",
    "ht_jax.data.moving_images.MovingImages": "tensorflow_datasets",
    "ht_jax.data.video.builder.VideoBuilder": "tensorflow_datasets",
    "ht_jax.schedule.reading.exact_": "jax.custom_vjp under functools.partial",
}

command = ["pyright", "--verifytypes", "ht_jax", "--ignoreexternal", "--outputjson"]
found = subprocess.run(command, capture_output=True, text=True)
symbols = json.loads(found.stdout)["typeCompleteness"]["symbols"]
unknown = [
    symbol["name"]
    for symbol in symbols
    if symbol["isExported"]
    and not symbol["isTypeKnown"]
    and not symbol["name"].startswith(tuple(FOREIGN))
]
print(f"{len(symbols)} symbols, {len(unknown)} of unknown or partly unknown type")
sys.exit("\n".join(unknown) or 0)
