//! The wiring: creates every channel, builds every stage, joins them. No logic lives here.
//!
//! ```text
//! mqtt::Ingest ──┐                       ┌─> store (writer) ──> outbox ──> deliver ──> mqtt::Publisher
//!                ├─ batches ─> watch ────┤                                                 │
//! modbus::Poller ┤               ▲  ▲    └─> model workers ── verdicts ─┐                  │
//! folder::Watcher┘               │  └───────────────────────────────────┘                  │
//!                                ├──────────────────── commands ────────────────────────────┘
//!                                └── orders ── api, board (they read Live, which watch writes)
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::alert::wire::Wire;
use crate::api::{self, Desk};
use crate::certificates::Certificates;
use crate::health::Roster;
use crate::ledger::Ledger;
use crate::live::Live;
use crate::message::{CommandMessage, Quarantined};
use crate::model::{Answers, Loaded, LoadedModel, ModelWorker};
use crate::mqtt::{self, Publisher, PublisherSettings, PublisherTask, SiteWide};
pub use crate::plan::Plan;
use crate::reload::{Report, SwapEnds, Swaps, Tuning};
use crate::sample::Batch;
use crate::serving::{self, Shelf};
use crate::settings::{Publish, Settings};
use crate::snapshot::Thumbnail;
use crate::sources::{Sinks, Sources};
use crate::stages::{Phase, Stages};
use crate::standing::Standing;
use crate::store::Store;
use crate::tag::Registry;
use crate::telemetry::{Meters, Overview};
use crate::time::Timestamp;
use crate::verdict::Explained;
use crate::watch::{Feeds, LabelOrder, Order, Reshadow, Retune, Watch, WatchParts};
use crate::{board, deliver, http, status, watch};

/// Batches between the sources and the main loop; a full channel holds the sources back. In a flood
/// each takes 128 KiB.
const BATCHES: usize = 32;
/// Messages between the model workers and the main loop: the verdicts of one batch, or of a few.
const ANSWERS: usize = 512;
/// The same of shadows; where the main loop falls behind, the shadows wait.
const SHADOWED: usize = 128;
/// Pictures in small between the model workers and the main loop: more than wait before a model when
/// all ends.
const THUMBNAILS: usize = 64;
/// Explanations between the model workers and the main loop; more are not asked for at once.
const EXPLAINED: usize = 1024;
const COMMANDS: usize = 64;
/// Labels over MQTT that wait for the main loop; a shift's worth may come at once.
const TRUTHS: usize = 1024;
const QUARANTINE: usize = 64;
/// Configurations that wait for the main loop.
const RETUNES: usize = 1;

/// A running daemon.
#[derive(Debug)]
pub struct Running {
    pub overview: Overview,
    /// Where metrics and health are served.
    pub http: Option<SocketAddr>,
    /// The same as people write it, or the socket's: `unix:/run/andon/http.sock`.
    pub url: Option<String>,
    /// A way in for samples that come from no wire: tests, benchmarks, replay.
    pub feed: mpsc::Sender<Batch>,
    pub registry: Arc<Registry>,
    /// The way to change the configuration while all this runs.
    pub tuning: Option<Tuning>,
    /// Kept, so that the quarantine's stage waits even where no source writes to it.
    quarantine: mpsc::Sender<Quarantined>,
    stages: Stages,
}

/// Builds every stage and starts it. Nothing runs unless all of it can.
pub async fn start(plan: Plan) -> anyhow::Result<Running> {
    let Plan { settings, models: Loaded { predictions, models } } = plan;
    let registry = Arc::new(Registry::new(settings.limits.tags));
    let ledger = Arc::new(Ledger::default());
    let meters = Arc::new(Meters::default());
    let (batches, batches_out) = mpsc::channel::<Batch>(BATCHES);
    let (answers, answers_out) = mpsc::channel::<Answers>(ANSWERS);
    let (explained, explained_out) = mpsc::channel::<Explained>(EXPLAINED);
    let (thumbnails, thumbnails_out) = mpsc::channel::<Thumbnail>(THUMBNAILS);
    let (commands, commands_out) = mpsc::channel::<CommandMessage>(COMMANDS);
    let (retunes, retunes_out) = mpsc::channel::<Retune>(RETUNES);
    let (reshadows, reshadows_out) = mpsc::channel::<Reshadow>(RETUNES);
    let (shadowed, shadowed_out) = mpsc::channel::<Answers>(SHADOWED);
    let (orders, orders_out) = mpsc::channel::<Order>(COMMANDS);
    let (truths, truths_out) = mpsc::channel::<CommandMessage>(TRUTHS);
    let (labels, labels_out) = mpsc::channel::<LabelOrder>(COMMANDS);
    let (quarantine, quarantine_out) = mpsc::channel::<Quarantined>(QUARANTINE);

    let listener = http::bind(&settings.http).await?;
    let guard = http::Guard::prepare(&settings.http)?;
    let http = listener.as_ref().and_then(http::Listener::address);
    let url = listener.as_ref().map(http::Listener::url);
    let (store, writer) = Store::open(&settings.store, Arc::clone(&registry), Arc::clone(&ledger))
        .await
        .context("the store does not open")?;
    let sinks = Sinks {
        registry: Arc::clone(&registry),
        ledger: Arc::clone(&ledger),
        batches: batches.clone(),
        quarantine: quarantine.clone(),
        behind: store.was_ahead(Timestamp::now()).await?,
    };
    let roster = Roster::default();
    let (sources, reorders) = Sources::build(&settings, sinks, roster.clone())?;
    let standing = settings.share.as_ref().map(|_| Arc::new(Standing::default()));
    let egress = match &settings.publish {
        Some(publish) => Some(egress(&settings, publish, standing.clone(), (commands, truths))?),
        None => None,
    };
    let live = Arc::new(Live::new(&settings));
    let spawn = |model: LoadedModel| model.spawn_explaining(answers.clone(), explained.clone());
    let workers: Vec<ModelWorker> =
        models.into_iter().map(spawn).collect::<Result<_, _>>().context("a model's thread")?;
    let started = Timestamp::now();
    let overview = Overview {
        started,
        config: Arc::new(Report::new(started)),
        ledger: Arc::clone(&ledger),
        meters: Arc::clone(&meters),
        sources: roster,
        models: workers.iter().map(|worker| Arc::clone(worker.handle().stats())).collect(),
        drift: live.drift_figures(),
        feedback: live.feedback_figures(),
        shadows: live.shadow_figures(),
        store: store.clone(),
        link: egress.as_ref().map(|egress| egress.publisher.link()),
        certificates: Arc::new(Certificates::of(&settings)),
        standing: standing.clone(),
    };
    overview.config.shared(settings.share.clone());
    let shelf = Arc::new(Shelf::new(
        settings.runtime.clone(),
        settings.service.clone(),
        workers.iter().map(|worker| worker.handle().service().clone()),
    ));
    let (swaps, swap_desk) = Swaps::new(SwapEnds {
        answers: &answers,
        explained: &explained,
        shadowed,
        reshadows,
        shelf: Arc::clone(&shelf),
        models: overview.models.clone(),
        meters: Arc::clone(&meters),
    });
    let tuning = Tuning {
        settings: settings.clone(),
        running: predictions.iter().map(|p| (p.name.clone(), p.clone())).collect(),
        sources: reorders,
        watch: retunes,
        publisher: egress.as_ref().map(|egress| egress.publisher.clone()),
        report: Arc::clone(&overview.config),
        swaps,
    };
    let watch = WatchParts {
        settings: &settings,
        predictions,
        workers,
        registry: Arc::clone(&registry),
        ledger,
        meters: Arc::clone(&meters),
        live: Arc::clone(&live),
        store: store.clone(),
        wire: egress.as_ref().map(|egress| egress.wire.clone()),
        publisher: egress.as_ref().map(|egress| egress.publisher.clone()),
        thumbnails,
        standing,
    };
    let mut feeds = Feeds {
        batches: batches_out,
        answers: answers_out,
        explained: explained_out,
        commands: commands_out,
        orders: orders_out,
        truths: truths_out,
        labels: labels_out,
        retunes: retunes_out,
        reshadows: reshadows_out,
        shadowed: shadowed_out,
        thumbnails: thumbnails_out,
    };
    let mut watch = Watch::new(watch);
    watch.restore(&mut feeds.answers).await.context("the buffer cannot be read back")?;

    let mut stages = Stages::default();
    let desk = Desk {
        site: settings.site.name.as_str().into(),
        live,
        registry: Arc::clone(&registry),
        store: store.clone(),
        overview: overview.clone(),
        shelf: Arc::clone(&shelf),
        orders,
        labels,
        swaps: swap_desk,
        stopping: stages.token(Phase::Source),
    };
    stages.spawn(Phase::Store, "store", |token| writer.run(token));
    stages.spawn(Phase::Watch, "quarantine", |_| watch::quarantine(store.clone(), quarantine_out));
    stages.spawn(Phase::Watch, "watch", |_| watch.run(feeds));
    if let Some(Egress { publisher, task, wire, every }) = egress {
        let reporter = status::Reporter { overview: overview.clone(), publisher, wire, every };
        let publisher = reporter.publisher.clone();
        stages.spawn(Phase::Link, "publisher", |token| task.run(token));
        stages.spawn(Phase::Delivery, "deliver", |token| {
            deliver::run(store, publisher, meters, token)
        });
        stages.spawn(Phase::Delivery, "status", |token| reporter.run(token));
    }
    let certificates = Arc::clone(&overview.certificates);
    stages.spawn(Phase::Service, "certificates", |token| async move {
        certificates.watch(token).await;
    });
    if let Some(listener) = listener {
        let pages = status::pages(&overview);
        let models = serving::router(shelf, overview.clone());
        let more = api::router(desk.clone()).merge(board::router(desk)).merge(models);
        stages.spawn(Phase::Service, "http", |token| {
            http::serve(listener, guard, pages, more, token)
        });
    }
    stages.spawn(Phase::Source, "sources", |token| sources.run(token));
    Ok(Running {
        overview,
        http,
        url,
        feed: batches,
        registry,
        tuning: Some(tuning),
        quarantine,
        stages,
    })
}

impl Running {
    /// Cancelled when everything else has ended.
    pub fn token(&self) -> CancellationToken {
        self.stages.token(Phase::Service)
    }

    /// Cancelled when the daemon begins to stop.
    pub fn stopping(&self) -> CancellationToken {
        self.stages.token(Phase::Source)
    }

    /// The name of the first stage that ends by itself: something is wrong.
    pub async fn failed(&mut self) -> &'static str {
        self.stages.failed().await
    }

    /// Drains: everything that came in is committed, and delivered while the broker is there.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { feed, quarantine, stages, tuning, .. } = self;
        drop((feed, quarantine, tuning));
        stages.stop().await
    }
}

/// The way out: alerts, status and commands on a connection of their own.
struct Egress {
    publisher: Publisher,
    task: PublisherTask,
    wire: Wire,
    every: std::time::Duration,
}

fn egress(
    settings: &Settings,
    publish: &Publish,
    standing: Option<Arc<Standing>>,
    (commands, truths): (mpsc::Sender<CommandMessage>, mpsc::Sender<CommandMessage>),
) -> anyhow::Result<Egress> {
    let wire = Wire {
        prefix: publish.prefix.clone(),
        site: settings.site.name.clone(),
        station: settings.share.as_ref().map(|share| share.name.clone()),
    };
    let broker =
        settings.broker_as_box(&publish.broker).context("`publish.broker` names no broker")?;
    let (publisher, task) = mqtt::connect(
        PublisherSettings {
            broker_name: publish.broker.clone(),
            broker,
            site: settings.station(),
            will: Some(wire.will()),
            command_filter: Some(wire.command_filter()),
            labels: Some((wire.label_filter(), truths)),
            site_wide: standing.map(|standing| SiteWide {
                states: wire.state_filter(),
                boxes: wire.box_filter(),
                standing,
            }),
        },
        commands,
    )
    .context("the alert connection cannot be built")?;
    Ok(Egress { publisher, task, wire, every: publish.status_interval })
}
