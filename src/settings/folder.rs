//! Folders that cameras write pictures into.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A folder that is watched for JPEG and PNG files (`[[folder]]`).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// From the root: `/srv/camera/press-1`. Folders below it are not looked into.
    pub path: PathBuf,
    /// Whose pictures they are.
    pub asset: String,
    /// What becomes of a file when a model has answered.
    #[serde(default)]
    pub after: AfterUse,
    /// Where to with `after = "move"`: on the same file system, from the root.
    pub move_to: Option<PathBuf>,
    /// Between two looks.
    #[serde(default = "interval", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// A file is whole when its size and time have been the same for so long.
    #[serde(default = "settle", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub settle: Duration,
    /// What was written longer ago than this when it is found is counted and not shown.
    #[serde(default = "max_age", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub max_age: Duration,
    /// Larger files are refused unread.
    #[serde(default = "max_size")]
    #[schemars(with = "String")]
    pub max_size: ByteSize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AfterUse {
    /// It stays where it is, and is not looked at again.
    #[default]
    Keep,
    /// It goes to `move_to`.
    Move,
    Delete,
}

fn interval() -> Duration {
    Duration::from_millis(500)
}

fn settle() -> Duration {
    Duration::from_secs(1)
}

fn max_age() -> Duration {
    Duration::from_secs(3600)
}

fn max_size() -> ByteSize {
    ByteSize::mib(32)
}
