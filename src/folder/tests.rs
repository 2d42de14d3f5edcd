//! A watched folder from outside: files go in, pictures come out, fates go back.

#![expect(clippy::disallowed_methods, reason = "files carry the system's time")]

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    root: tempfile::TempDir,
    ledger: Arc<Ledger>,
    health: Arc<SourceHealth>,
    quarantine: mpsc::Receiver<Quarantined>,
    batches: mpsc::Receiver<Batch>,
    token: CancellationToken,
    task: JoinHandle<()>,
}

fn settings(root: &Path, more: &str) -> Folder {
    let path = root.join("camera");
    let settle = if more.contains("settle") { "" } else { "settle = '30ms'\n" };
    let text = format!("path = {path:?}\nasset = 'press-1'\ninterval = '10ms'\n{settle}{more}");
    toml::from_str(&text).unwrap()
}

impl Rig {
    fn new(more: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("camera")).unwrap();
        Self::over(root, more)
    }

    fn over(root: tempfile::TempDir, more: &str) -> Self {
        let (batches, batches_out) = mpsc::channel(64);
        let (quarantine, quarantine_out) = mpsc::channel(64);
        let (ledger, health) = (Arc::default(), Arc::new(SourceHealth::new("folder:x")));
        let watcher = Watcher::new(WatcherParts {
            folder: settings(root.path(), more),
            store: root.path().join("andon.db"),
            ledger: Arc::clone(&ledger),
            health: Arc::clone(&health),
            batches,
            quarantine,
        });
        let token = CancellationToken::new();
        let task = tokio::spawn(watcher.run(token.clone()));
        Self { root, ledger, health, quarantine: quarantine_out, batches: batches_out, token, task }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("camera").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    async fn next(&mut self) -> Snapshot {
        let batch = tokio::time::timeout(PATIENCE, self.batches.recv()).await;
        batch.expect("a picture in time").expect("the source runs").pictures.remove(0)
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let seen = async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{what}"));
    }

    fn fate(&self, word: &str) -> u64 {
        let fates = self.ledger.pictures.fates();
        fates.iter().find(|(known, _)| *known == word).unwrap().1
    }

    async fn stop(self) -> tempfile::TempDir {
        self.token.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
        self.root
    }
}

#[tokio::test]
async fn files_come_as_they_were_written_and_those_that_were_shown_do_not_come_again() {
    let mut rig = Rig::new("");
    let at = |second: u64| SystemTime::now() - Duration::from_secs(60 - second);
    // Written under hidden names and put in place with their times.
    for (name, second) in [("b.PNG", 1), ("a.jpeg", 2), ("c.jpg", 3)] {
        rig.write(".draft.png", name.as_bytes());
        let file = fs::File::options().write(true).open(rig.path(".draft.png")).unwrap();
        file.set_modified(at(second)).unwrap();
        fs::rename(rig.path(".draft.png"), rig.path(name)).unwrap();
        let picture = rig.next().await;
        assert_eq!((&*picture.asset, &*picture.bytes), ("press-1", name.as_bytes()));
        picture.end(Fate::Shown);
    }
    rig.write("notes.txt", b"no picture");
    rig.until("all shown", |rig| rig.fate("shown") == 3).await;
    let root = rig.stop().await;

    let mut rig = Rig::over(root, "");
    rig.write("d.png", b"new");
    let picture = rig.next().await;
    assert_eq!(&*picture.bytes, b"new");
    picture.end(Fate::Shown);
    // The same name with other bytes is another picture.
    rig.write("a.jpeg", b"another one");
    assert_eq!(&*rig.next().await.bytes, b"another one");
    rig.stop().await;
}

#[tokio::test]
async fn a_file_that_still_grows_is_waited_for() {
    let mut rig = Rig::new("settle = '2s'");
    rig.until("watched", |rig| rig.health.snapshot().connected).await;
    let mut whole = Vec::new();
    rig.write("slow.png", b"");
    for part in 0..40_u8 {
        whole.push(part);
        rig.write("slow.png", &whole);
        assert!(rig.batches.try_recv().is_err(), "{part} of 40 bytes were taken for all");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(rig.next().await.bytes, whole);
    rig.stop().await;
}

#[tokio::test]
async fn what_was_looked_at_is_deleted_and_what_no_model_saw_stays_and_comes_no_more() {
    let mut rig = Rig::new("after = 'delete'");
    rig.write("good.png", b"good");
    rig.next().await.end(Fate::Shown);
    rig.until("deleted", |rig| !rig.path("good.png").exists()).await;
    rig.write("bad.png", b"bad");
    rig.next().await.end(Fate::Refused("broken".into()));
    let aside = rig.quarantine.recv().await.expect("set aside");
    assert_eq!((aside.topic.as_str(), aside.detail.as_str()), ("bad.png", "broken"));
    // Its successor comes, so it is done with.
    rig.write("next.png", b"next");
    assert_eq!(&*rig.next().await.bytes, b"next");
    assert!(rig.path("bad.png").exists());
    rig.stop().await;
}

#[tokio::test]
async fn what_was_looked_at_is_moved_over_nothing_that_is_there() {
    let root = tempfile::tempdir().unwrap();
    let done = root.path().join("done");
    for folder in [&root.path().join("camera"), &done] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(done.join("top.png"), b"yesterday").unwrap();
    let mut rig = Rig::over(root, &format!("after = 'move'\nmove_to = {done:?}"));
    rig.write("top.png", b"today");
    rig.next().await.end(Fate::Shown);
    rig.until("moved", |_| done.join("top-2.png").exists()).await;
    assert_eq!(fs::read(done.join("top.png")).unwrap(), b"yesterday");
    assert_eq!(fs::read(done.join("top-2.png")).unwrap(), b"today");
    assert!(!rig.path("top.png").exists());
    rig.stop().await;
}

#[tokio::test]
async fn links_old_files_and_large_ones_are_counted_and_never_read() {
    let mut rig = Rig::new("max_size = '10B'\nmax_age = '1h'");
    fs::write(rig.root.path().join("secret"), b"secret").unwrap();
    std::os::unix::fs::symlink(rig.root.path().join("secret"), rig.path("link.png")).unwrap();
    rig.write("large.png", &[7; 11]);
    rig.write(".old", b"old");
    let file = fs::File::options().write(true).open(rig.path(".old")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    fs::rename(rig.path(".old"), rig.path("old.png")).unwrap();
    rig.until("refused", |rig| (rig.fate("refused"), rig.fate("stale")) == (2, 1)).await;
    let mut details = vec![
        rig.quarantine.recv().await.expect("one").detail,
        rig.quarantine.recv().await.expect("two").detail,
    ];
    details.sort();
    assert!(details[0].contains("11 bytes; `max_size` is 10"), "{details:?}");
    assert!(details[1].contains("it is a link"), "{details:?}");
    rig.write("good.png", b"good");
    rig.next().await.end(Fate::Shown);
    rig.until("shown", |rig| rig.fate("shown") == 1).await;
    assert_eq!(rig.ledger.pictures.received(), 4);
    rig.stop().await;
}

#[tokio::test]
async fn a_folder_that_vanishes_is_told_of_and_what_was_done_is_still_known_when_it_is_back() {
    let mut rig = Rig::new("");
    rig.write("first.png", b"first");
    rig.next().await.end(Fate::Shown);
    rig.until("shown", |rig| rig.fate("shown") == 1).await;
    let (here, away) = (rig.root.path().join("camera"), rig.root.path().join("away"));
    fs::rename(&here, &away).unwrap();
    rig.until("told", |rig| !rig.health.snapshot().connected).await;
    let told = rig.health.snapshot().last_error.unwrap_or_default();
    assert!(told.contains("camera: "), "{told}");
    // As a mount point without its share: there, and empty.
    fs::create_dir(&here).unwrap();
    rig.until("back", |rig| rig.health.snapshot().connected).await;
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    rig.write("second.png", b"second");
    assert_eq!(&*rig.next().await.bytes, b"second");
    rig.stop().await;
}

#[tokio::test]
async fn few_are_under_way_and_one_that_is_dropped_comes_again_and_counts_once() {
    let mut rig = Rig::new("");
    for number in 0..UNDER_WAY + 2 {
        rig.write(&format!("{number}.png"), &[1, u8::try_from(number).unwrap()]);
    }
    let mut pictures = Vec::new();
    for _ in 0..UNDER_WAY {
        pictures.push(rig.next().await);
    }
    let waited = tokio::time::timeout(Duration::from_millis(200), rig.batches.recv()).await;
    assert!(waited.is_err(), "a picture more than may be under way");
    // As a model does that is exchanged for another.
    let dropped = pictures.remove(0);
    let bytes = dropped.bytes.clone();
    drop(dropped);
    let mut seen = Vec::new();
    pictures.into_iter().for_each(|picture| picture.end(Fate::Shown));
    for _ in 0..3 {
        let picture = rig.next().await;
        seen.push(picture.bytes.clone());
        picture.end(Fate::Shown);
    }
    assert!(seen.contains(&bytes), "{seen:?}");
    rig.until("shown", |rig| rig.fate("shown") == UNDER_WAY as u64 + 2).await;
    assert_eq!(rig.ledger.pictures.received(), UNDER_WAY as u64 + 2);
    rig.stop().await;
}

#[tokio::test]
async fn a_picture_that_is_answered_while_the_daemon_stops_is_done_with() {
    let mut rig = Rig::new("after = 'delete'");
    rig.write("last.png", b"last");
    let picture = rig.next().await;
    rig.token.cancel();
    picture.end(Fate::Shown);
    let path = rig.path("last.png");
    let root = rig.stop().await;
    assert!(!path.exists());
    drop(root);
}
