# Fetches NLTK's data: the folder to put it into, the address of the index or nothing, then the names.
import os
import sys

from nltk.downloader import Downloader

folder, index, *names = sys.argv[1:]
downloader = Downloader(server_index_url=index or None)
for name in names:
    try:
        done = downloader.download(name, download_dir=folder, halt_on_error=True, raise_on_error=True)
    except (ValueError, OSError) as error:
        sys.exit(f"{name}: {error}")
    if not done:
        sys.exit(f"{name}: could not be fetched")
# What is unpacked is not kept twice.
for parent, folders, files in os.walk(folder):
    for file in files:
        if file.endswith(".zip") and file[:-4] in folders:
            os.remove(os.path.join(parent, file))
