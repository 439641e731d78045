//! A layer of one folder, alone: what `tests/bench/images` measures beside `tar | pigz`.
//!
//! `layer FOLDER STORE`: writes the layer's blob into the store, prints its compressed bytes.

use oci_image::{BlobStore, Compression, LayerBlob, LayerError, Owner, TreeRules, write_layer};
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "layer FOLDER STORE";
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().ok_or(usage)?;
    let store = BlobStore::open(arguments.next().ok_or(usage)?)?;
    let rules = TreeRules::owned_by(Owner { uid: 0, gid: 0 });
    let written: Result<LayerBlob, LayerError> =
        write_layer(&store, Compression::default(), |tar| {
            tar.tree(Path::new(&folder), "tree", &rules)
        });
    writeln!(io::stdout(), "{}", written?.size)?;
    Ok(())
}
