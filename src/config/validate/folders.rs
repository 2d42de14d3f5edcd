//! Folders that cameras write into.

use std::path::Path;
use std::time::Duration;

use super::super::path;
use super::{Check, names};
use crate::picture::Limits;
use crate::settings::{AfterUse, Folder, Settings};

const LEAST_INTERVAL: Duration = Duration::from_millis(50);

pub(super) fn check(check: &mut Check<'_>, settings: &Settings) {
    for (index, folder) in settings.folder.iter().enumerate() {
        let at = path::element("folder", index);
        check_one(check, &at, folder);
        let earlier = settings.folder[..index].iter().position(|other| other.path == folder.path);
        if let Some(earlier) = earlier {
            let own = path::child(&at, "path");
            let first = path::child(&path::element("folder", earlier), "path");
            let place = check.source.line_of(&first, &own);
            check.error(
                &own,
                format!("this folder is watched already, {place}"),
                "give each camera a folder of its own; several predictions may look at one asset",
            );
        }
    }
}

fn check_one(check: &mut Check<'_>, at: &str, folder: &Folder) {
    names::level(check, &path::child(at, "asset"), "the asset", &folder.asset);
    from_the_root(check, &path::child(at, "path"), &folder.path);
    let target = path::child(at, "move_to");
    match (&folder.move_to, folder.after) {
        (Some(_), AfterUse::Keep | AfterUse::Delete) => {
            check.idle(at, "move_to", "it belongs to after = \"move\"");
        }
        (None, AfterUse::Move) => check.error(
            &target,
            "where the files go to is not said",
            "write move_to = \"/srv/camera/done\", on the same file system",
        ),
        (Some(to), AfterUse::Move) if *to == folder.path => check.error(
            &target,
            "the files would stay where they are",
            "name another folder, or write after = \"keep\"",
        ),
        (Some(to), AfterUse::Move) => from_the_root(check, &target, to),
        (None, AfterUse::Keep | AfterUse::Delete) => {}
    }
    if folder.interval < LEAST_INTERVAL {
        check.error(
            &path::child(at, "interval"),
            format!("looking every {} is too often", humantime::format_duration(folder.interval)),
            "leave it out for \"500ms\"; 50ms is the least",
        );
    }
    if folder.max_age.is_zero() {
        check.error(
            &path::child(at, "max_age"),
            "no picture is as new as that",
            "leave it out for \"1h\"",
        );
    }
    let most = Limits::default().bytes as u64;
    if !(1..=most).contains(&folder.max_size.as_u64()) {
        check.error(
            &path::child(at, "max_size"),
            format!("{} is outside 1 B to {}", folder.max_size, bytesize::ByteSize(most)),
            "leave it out for 32MiB, the most that is decoded",
        );
    }
}

fn from_the_root(check: &mut Check<'_>, at: &str, folder: &Path) {
    if !folder.is_absolute() {
        check.error(
            at,
            format!("{:?} does not begin at the root", folder.display().to_string()),
            "write the whole path, such as \"/srv/camera/press-1\"",
        );
    }
}
