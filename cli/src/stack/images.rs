//! Stacks as images in registries and layouts: `shop/stack:13` is the run image, `shop/stack:13-build` the build image,
//! whose manifest carries what else a stack is.

use super::{Stack, identity};
use crate::addon_root;
use crate::app;
use crate::failure::{Exit, Failure, OrFail};
use crate::place::{Place, Source};
use crate::store;
use crate::transfer::{Fetched, Transfer};
use debian_stack::Lock;
use oci_image::{Descriptor, Image, LayerBlob};
use rustix::fs::FlockOperation;
use std::fs;
use std::path::Path;

/// The annotation with the stack's record.
const RECORD: &str = "io.slugc.stack";
/// The annotation with the lock, in TOML.
const LOCK: &str = "io.slugc.stack.lock";
/// What the tag of the build image ends with, after the run image's.
const BUILD: &str = "-build";

impl Stack {
    /// Writes both images. Returns what to print of each.
    pub(crate) fn push(
        &self,
        transfer: &Transfer<'_>,
        target: &Place,
    ) -> Result<[String; 2], Failure> {
        let (run_place, build_place) = places(target, &self.name)?;
        let saving = || format!("cannot write the stack {}", self.name);
        let mut build = transfer.stored(self.build_image.clone(), None)?.image;
        let record = serde_json::to_string(self).or_fail(Exit::General, saving)?;
        let lock = fs::read_to_string(Self::lock_file(transfer.store, &self.name))
            .or_fail(Exit::Store, saving)?;
        let annotations = &mut build.manifest.annotations;
        annotations.insert(RECORD.to_owned(), record);
        annotations.insert(LOCK.to_owned(), lock);
        let described = build
            .save(transfer.store.blobs())
            .or_fail(Exit::Store, saving)?;
        let deliver = |manifest: Descriptor, place: &Place| {
            let image = Fetched {
                manifest,
                name: None,
                origin: None,
            };
            transfer.deliver(&image, place)
        };
        // The run image last: it is the one whose name others know.
        let build = deliver(described, &build_place)?;
        let run = deliver(self.run_image.clone(), &run_place)?;
        Ok([run, build])
    }

    /// Brings a stack that [`Stack::push`] wrote. It takes the place of one of the same name.
    pub(crate) fn pull(transfer: &Transfer<'_>, from: &Place) -> Result<Self, Failure> {
        let store = transfer.store;
        let (run_place, build_place) = places(from, debian_stack::DEFAULT)?;
        let build = transfer.fetch(&Source::Elsewhere(build_place.clone()))?;
        let (stack, lock) = described(transfer, &build.manifest, &build_place)?;
        let run = transfer.fetch(&Source::Elsewhere(run_place.clone()))?;
        if run.manifest.digest != stack.run_image.digest {
            return Err(Failure::new(
                Exit::Input,
                format!("{run_place} is not the run image that belongs to {build_place}"),
            )
            .hint("push the stack again: slugc stack push"));
        }
        let image = transfer.stored(stack.build_image.clone(), None)?.image;
        let run_image = transfer.stored(stack.run_image.clone(), None)?.image;
        check_layers(&stack, &run_image, &image, &build_place)?;
        let _lock = store::lock(
            &store.stacks().join(format!("{}.lock", stack.name)),
            FlockOperation::LockExclusive,
        )?;
        let what = format!("the stack {}", stack.name);
        transfer.printer.line(&format!("Unpacking {what}"));
        store.unpacked(&image, &what)?;
        let folder = store.stack(&stack.name);
        fs::create_dir_all(&folder)
            .or_fail(Exit::Store, || format!("cannot make {}", folder.display()))?;
        lock.write(&Self::lock_file(store, &stack.name))
            .or_fail(Exit::Store, || format!("cannot keep the lock of {what}"))?;
        app::write_json(&folder.join("stack.json"), &stack)?;
        if stack.name == debian_stack::DEFAULT && identity(&stack.name)? != stack.recipe {
            transfer.printer.warning(&format!(
                "this slugc brings another recipe of {}, which the next build makes anew from Debian's packages",
                stack.name
            ));
        }
        Ok(stack)
    }
}

/// The record, the lock and, put back into the store, the build image as it was before it carried them.
fn described(
    transfer: &Transfer<'_>,
    manifest: &Descriptor,
    place: &Place,
) -> Result<(Stack, Lock), Failure> {
    let foreign = || {
        Failure::new(Exit::Input, format!("{place} is no stack's build image"))
            .hint("slugc stack pull takes what slugc stack push wrote")
    };
    let mut image = transfer.stored(manifest.clone(), None)?.image;
    let annotations = &mut image.manifest.annotations;
    let (Some(record), Some(lock)) = (annotations.remove(RECORD), annotations.remove(LOCK)) else {
        return Err(foreign());
    };
    let stack: Stack = serde_json::from_str(&record).map_err(|error| foreign().because(error))?;
    let lock =
        Lock::parse(Path::new("lock.toml"), &lock).map_err(|error| foreign().because(error))?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let named = !stack.name.is_empty()
        && stack.name.bytes().all(is_name)
        && !stack.name.starts_with(addon_root::PREFIX);
    let original = image
        .save(transfer.store.blobs())
        .or_fail(Exit::Store, || format!("cannot save the image {place}"))?;
    if !named || original.digest != stack.build_image.digest {
        return Err(foreign());
    }
    Ok((stack, lock))
}

/// The record is a stranger's word: its layers must be those of the images.
fn check_layers(stack: &Stack, run: &Image, build: &Image, place: &Place) -> Result<(), Failure> {
    let are = |image: &Image, expected: &[&LayerBlob]| {
        let expected = expected.iter();
        let digests: Vec<_> = image.manifest.layers.iter().map(|it| it.digest).collect();
        expected.clone().map(|it| it.diff_id).collect::<Vec<_>>() == image.config.rootfs.diff_ids
            && expected.map(|it| it.digest).collect::<Vec<_>>() == digests
    };
    if are(run, &[&stack.run]) && are(build, &[&stack.run, &stack.build]) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Input,
        format!("the stack in {place} does not fit its images"),
    )
    .hint("push the stack again: slugc stack push"))
}

/// Where the run image is, and where the build image.
fn places(place: &Place, default_tag: &str) -> Result<(Place, Place), Failure> {
    match place {
        Place::Registry(name) if name.digest().is_none() => {
            let name = name.clone().or_latest();
            let tag = format!("{}{BUILD}", name.tag().unwrap_or_default());
            let build = name.with_tag(&tag).or_fail(Exit::Usage, || {
                format!("{name} leaves no room for the build image's tag {tag}")
            })?;
            Ok((Place::Registry(name), Place::Registry(build)))
        }
        Place::Layout { folder, tag } => {
            let tag = tag.as_deref().unwrap_or(default_tag);
            let layout = |tag: String| Place::Layout {
                folder: folder.clone(),
                tag: Some(tag),
            };
            Ok((layout(tag.to_owned()), layout(format!("{tag}{BUILD}"))))
        }
        other => Err(Failure::new(
            Exit::Usage,
            format!("{other} cannot hold a stack, which is two images"),
        )
        .hint("write REGISTRY/REPOSITORY[:TAG] or oci:DIR[:TAG]; slugc stack export writes each image anywhere")),
    }
}
