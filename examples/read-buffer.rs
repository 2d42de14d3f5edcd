//! Prints every stored sample of a buffer that no daemon has open, one JSON array a line:
//! `[asset, tag, milliseconds, value or null]`, per tag in time order. The proof's judge reads it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use andon::ledger::Ledger;
use andon::settings::StoreSettings;
use andon::store::Store;
use andon::tag::Registry;
use andon::time::Timestamp;
use anyhow::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.context("usage: read-buffer FILE")?;
    anyhow::ensure!(path.exists(), "{} does not exist", path.display());
    let registry = Arc::new(Registry::new(1 << 20));
    let settings = StoreSettings { path, ..StoreSettings::default() };
    let (store, _writer) =
        Store::open(&settings, Arc::clone(&registry), Arc::new(Ledger::default())).await?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (id, tag) in registry.tags_from(0) {
        for sample in store.read_tag(id, Timestamp::MIN, Timestamp::MAX).await? {
            let row = (&*tag.asset_name, &*tag.name, sample.time.as_nanos() / 1_000_000);
            let row = (row.0, row.1, row.2, sample.value.is_finite().then_some(sample.value));
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        }
    }
    let stats = store.stats();
    anyhow::ensure!(stats.damaged_blocks == 0, "{} blocks are damaged", stats.damaged_blocks);
    anyhow::ensure!(stats.set_aside.is_none(), "the buffer was damaged");
    out.flush()?;
    Ok(())
}
