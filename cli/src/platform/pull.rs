//! Images that a build asks for: from the store, from a registry, from an engine, by one policy.

use super::settings::Settings;
use crate::args::{PullPolicy, RegistryArgs};
use crate::failure::{Exit, Failure};
use crate::images::Images;
use crate::place::{Place, Source};
use crate::store::Store;
use crate::transfer::{Fetched, Transfer};
use crate::ui::printer::Printer;
use oci_image::Reference;

/// Gets images for builds. An image of a registry is kept under its own name, so that the next build finds it and
/// `cache prune` leaves it.
pub(crate) struct Puller<'a> {
    pub(crate) store: &'a Store,
    pub(crate) printer: &'a Printer,
    pub(crate) registry: &'a RegistryArgs,
    pub(crate) policy: PullPolicy,
    pub(crate) settings: &'a Settings,
}

impl Puller<'_> {
    /// An image by its name: what the store has under it, unless the policy is to ask each time; else what its place
    /// has.
    pub(crate) fn image(&self, text: &str) -> Result<Fetched, Failure> {
        let place = Place::parse(text)?;
        let Place::Registry(name) = &place else {
            return self.transfer()?.fetch(&Source::Elsewhere(place));
        };
        let name = name.clone().or_latest();
        if self.policy != PullPolicy::Always
            && let Some(stored) = Images::of(self.store).get(&name)?
            && crate::build::record::is_complete(self.store.blobs(), &stored.manifest.digest)
        {
            return Ok(Fetched {
                manifest: stored.manifest,
                name: Some(name),
                origin: None,
            });
        }
        if self.policy == PullPolicy::Never {
            return Err(Failure::new(
                Exit::Input,
                format!("there is no image {} in the store", name.familiar()),
            )
            .hint(format!(
                "pull it first: slugc pull {text}; or leave out --pull-policy never"
            )));
        }
        let fetched = self
            .transfer()?
            .fetch(&Source::Elsewhere(Place::Registry(name.clone())))?;
        Images::of(self.store).set(&name, &fetched.manifest)?;
        Ok(Fetched {
            name: Some(name),
            ..fetched
        })
    }

    /// The first of several names of one image that can be had; the failure of the first when none can.
    pub(crate) fn first(&self, names: &[String]) -> Result<(String, Fetched), Failure> {
        let mut first_failure = None;
        for name in names {
            match self.image(name) {
                Ok(fetched) => return Ok((name.clone(), fetched)),
                Err(failure) => drop(first_failure.get_or_insert(failure)),
            }
        }
        Err(first_failure
            .unwrap_or_else(|| Failure::new(Exit::Input, "no image is named to choose from")))
    }

    /// Whether something may be downloaded at all.
    pub(crate) fn refuse_network(&self, what: &str) -> Result<(), Failure> {
        if self.policy == PullPolicy::Never {
            return Err(Failure::new(
                Exit::Input,
                format!("{what} is not in the store, and --pull-policy never forbids to fetch it"),
            )
            .hint("build once without --pull-policy never, or with if-not-present"));
        }
        Ok(())
    }

    fn transfer(&self) -> Result<Transfer<'_>, Failure> {
        let transfer = Transfer::new(self.store, self.printer, self.registry, None)?;
        Ok(Transfer {
            settings: Some(self.settings),
            ..transfer
        })
    }
}

/// Names of one image in the order to try them: those in the registry that the result goes to come first, as its
/// layers then need not leave it (Platform API, "Run Image Resolution").
pub(crate) fn nearest_first(names: Vec<String>, target: Option<&Reference>) -> Vec<String> {
    let Some(target) = target else {
        return names;
    };
    let (mut near, far): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| {
        name.parse::<Reference>()
            .is_ok_and(|name| name.registry() == target.registry())
    });
    near.extend(far);
    near
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_in_the_targets_registry_comes_first() {
        let names = || vec!["a.example/run".to_owned(), "b.example/run".to_owned()];
        let target: Reference = "b.example/shop".parse().unwrap();
        assert_eq!(
            nearest_first(names(), Some(&target)),
            ["b.example/run", "a.example/run"]
        );
        assert_eq!(nearest_first(names(), None), names());
    }
}
