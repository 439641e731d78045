//! Where the Aptfile buildpack's packages come from: the mirror that stacks are made from. It is told by variables, and never
//! enters an image.

use crate::build::Request;
use crate::stack;
use std::collections::BTreeMap;
use std::fs;

/// The file that asks for packages.
const APTFILE: &str = "Aptfile";
const MIRROR: &str = "BP_DEBIAN_MIRROR";
const SECURITY_MIRROR: &str = "BP_DEBIAN_SECURITY_MIRROR";
/// That the app will run on another image than its stack's, which may lack what the stack has.
const OTHER_RUN_IMAGE: &str = "BP_APT_OTHER_RUN_IMAGE";

/// Adds what the user did not set.
pub(super) fn tell(variables: &mut BTreeMap<String, String>, request: &Request<'_>) {
    if fs::symlink_metadata(request.path.join(APTFILE)).is_err() {
        return;
    }
    if request.run_image.is_some() {
        variables
            .entry(OTHER_RUN_IMAGE.to_owned())
            .or_insert_with(|| "1".to_owned());
    }
    if variables.contains_key(MIRROR) {
        return;
    }
    // Without one the buildpack says what to do, if its image names none either.
    // Neither has its login any business in a build: who wants that says so with -e.
    if let Ok(mirrors) = stack::mirrors(request.mirror)
        && ![&mirrors.base, &mirrors.security]
            .iter()
            .any(|address| address.contains('@'))
    {
        variables.insert(MIRROR.to_owned(), mirrors.base);
        variables
            .entry(SECURITY_MIRROR.to_owned())
            .or_insert(mirrors.security);
    }
}
