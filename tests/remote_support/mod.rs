//! A model that a server runs, with its worker: what the tests of both protocols share.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use andon::frame::{FrameSpec, Scratch, build};
use andon::health::RemoteSnapshot;
use andon::model::{ModelWorker, Submitted, load};
use andon::verdict::Explained;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::model_support::{Copy, Verdicts, rows, settings, verdicts};

const HASH: &str =
    "sha256 = \"d59d0032b28f18cbcf14947bf7ed6799c00c632c6a2152e43a9031e32278438a\"\n";

/// The model that draws roots, at `url`; `more` are further settings of it.
pub(crate) fn card(url: &str, fallback: bool, more: &str) -> Copy {
    let copy = Copy::of("root");
    if !fallback {
        copy.replace("model.toml", HASH, "");
        std::fs::remove_file(copy.file("model.onnx")).unwrap();
    }
    let runtime = format!(
        "[runtime]\ndeadline = \"300ms\"\n[runtime.remote]\nurl = \"{url}\"\n\
         fallback = {fallback}\n{more}\n[reference]"
    );
    copy.replace("model.toml", "[reference]", &runtime);
    copy
}

pub(crate) struct Running {
    pub(crate) worker: ModelWorker,
    pub(crate) verdicts: Verdicts,
    pub(crate) spec: Arc<FrameSpec>,
    _copy: Copy,
}

pub(crate) fn start(url: &str, fallback: bool, more: &str) -> Running {
    start_explaining(card(url, fallback, more), mpsc::channel(1).0)
}

/// The same, with whoever takes the reasons of alerts.
pub(crate) fn start_explaining(copy: Copy, reasons: mpsc::Sender<Explained>) -> Running {
    let settings = settings(copy.models.path(), &["model = \"root\""]);
    let mut loaded = load(&settings).unwrap_or_else(|errors| panic!("{errors:?}"));
    let (out, verdicts) = verdicts(64);
    let worker = loaded.models.remove(0).spawn_explaining(out, reasons).unwrap();
    let spec = Arc::clone(&loaded.predictions[0].spec);
    Running { worker, verdicts, spec, _copy: copy }
}

impl Running {
    pub(crate) fn ask(&self, value: f64) {
        let frame = build(&self.spec, &rows(0, 0, &[vec![value]]), &mut Scratch::default());
        assert_eq!(self.worker.handle().submit(frame.unwrap()), Submitted::Queued);
    }

    pub(crate) fn remote(&self) -> RemoteSnapshot {
        self.worker.handle().stats().snapshot().remote.unwrap()
    }

    /// Waits until `read` says so.
    pub(crate) fn until(&self, what: &str, read: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !read(self) {
            assert!(Instant::now() < end, "in vain: {what}: {:?}", self.remote());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn failed(&self) -> u64 {
        self.worker.handle().stats().snapshot().failed
    }
}
