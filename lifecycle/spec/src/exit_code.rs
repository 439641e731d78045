//! Exit codes of the phases (Platform API, "Outputs" of each phase).

/// Everything went well.
pub const SUCCESS: u8 = 0;
/// A failure without a code of its own.
pub const FAILED: u8 = 1;
/// Flags or arguments are wrong.
pub const INVALID_ARGS: u8 = 3;
/// `CNB_PLATFORM_API` is missing, malformed or not supported.
pub const PLATFORM_API_INCOMPATIBLE: u8 = 11;
/// A buildpack asks for an API that is not supported.
pub const BUILDPACK_API_INCOMPATIBLE: u8 = 12;
/// No group passed detection.
pub const DETECT_NO_GROUP: u8 = 20;
/// No group passed detection and a `bin/detect` failed in a way that is not "no".
pub const DETECT_NO_GROUP_WITH_ERRORS: u8 = 21;
/// Detection failed otherwise.
pub const DETECT_ERROR: u8 = 22;
/// Analysis failed.
pub const ANALYZE_ERROR: u8 = 32;
/// Restoration failed.
pub const RESTORE_ERROR: u8 = 42;
/// A `bin/build` failed.
pub const BUILD_BUILDPACK_FAILED: u8 = 51;
/// The build failed otherwise.
pub const BUILD_ERROR: u8 = 52;
/// Export failed.
pub const EXPORT_ERROR: u8 = 62;
/// The rebase failed.
pub const REBASE_ERROR: u8 = 72;
/// The launcher failed before it started the process.
pub const LAUNCH_ERROR: u8 = 82;

/// A `bin/generate` of an image extension failed.
pub const GENERATE_EXTENSION_FAILED: u8 = 91;
/// Generation failed otherwise.
pub const GENERATE_ERROR: u8 = 92;
/// Base images could not be extended.
pub const EXTEND_ERROR: u8 = 102;

/// What `bin/detect` exits with to say "not for me".
pub const DETECT_FAIL: i32 = 100;
