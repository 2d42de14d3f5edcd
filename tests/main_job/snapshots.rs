//! Pictures over MQTT, as a camera publishes them: looked at, told of, refused, given up.

use std::time::Duration;

use andon::reload::Swap;

use super::PATIENCE;
use super::plant::{Daemon, Plant};
use super::shadow::compared;
use super::swap::swap;

const CAMERA: &str = r#"
[[mqtt]]
broker = "plant"
topic = "plant/{asset}/camera/{tag}"
payload = "image"
[[prediction]]
name = "bright"
model = "brightness"
assets = ["press-*"]
"#;

/// A plant whose cameras feed a model that says how bright a picture is.
async fn plant() -> Plant {
    let plant = Plant::new(CAMERA).await;
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models");
    plant.rewrite(|text| format!("{text}[runtime]\nmodels = {models:?}\n"));
    plant
}

fn png(level: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, 8, 6);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&[level; 48]).expect("pixels");
    writer.finish().expect("an end");
    out
}

fn jpeg(level: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut out, 95);
    encoder.encode(&[level; 768], 16, 16, jpeg_encoder::ColorType::Rgb).expect("a JPEG");
    out
}

/// A PNG whose header claims a hundred megapixels.
fn huge() -> Vec<u8> {
    let mut bytes = png(7);
    bytes[16..20].copy_from_slice(&10_000_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&10_000_u32.to_be_bytes());
    let sum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

pub(crate) async fn until_metrics(daemon: &Daemon, lines: &[&str]) {
    let seen = async {
        loop {
            let metrics = daemon.get("/metrics").await;
            if lines.iter().all(|line| metrics.contains(&format!("{line}\n"))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await.is_ok();
    assert!(seen, "{lines:?} in:\n{}", daemon.get("/metrics").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bright_picture_raises_an_alert_and_a_dark_one_clears_it() {
    let mut plant = plant().await;
    let daemon = Daemon::start(&plant).await;
    plant.publish("plant/press-1/camera/top", &png(0)).await;
    plant.publish("plant/press-1/camera/top", &jpeg(250)).await;
    let raised = plant.next_event("press-1", "bright").await;
    assert_eq!(raised["type"], "io.andon.alert.raised.v1");
    assert!(raised["data"]["score"].as_f64().is_some_and(|score| score > 0.5), "{raised}");
    // A picture has no tags whose part in the score could be told.
    assert_eq!(raised["data"]["contributions"], serde_json::json!([]), "{raised}");
    assert_eq!(raised["data"]["model"]["name"], "brightness");
    plant.command("press-1", "bright", r#"{"action":"acknowledge","by":"shift lead"}"#).await;
    assert_eq!(plant.next_event("press-1", "bright").await["data"]["state"], "acknowledged");
    plant.publish("plant/press-1/camera/top", &png(0)).await;
    let cleared = plant.next_event("press-1", "bright").await;
    assert_eq!(cleared["type"], "io.andon.alert.cleared.v1");
    plant.publish("plant/saw-1/camera/top", &png(0)).await;
    until_metrics(
        &daemon,
        &[
            "andon_pictures_received_total 4",
            "andon_pictures_total{fate=\"shown\"} 3",
            "andon_pictures_total{fate=\"unwanted\"} 1",
        ],
    )
    .await;
    // Pictures are no samples.
    let totals = daemon.stop().await;
    assert_eq!((totals.received, totals.stored, totals.in_flight), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_a_camera_writes_into_a_folder_raises_an_alert_once_over_a_restart() {
    let mut plant = plant().await;
    let camera = plant.folder.path().join("camera");
    std::fs::create_dir(&camera).expect("a folder");
    plant.rewrite(|text| {
        format!(
            "{text}[[folder]]\npath = {camera:?}\nasset = \"press-2\"\ninterval = \"50ms\"\nsettle = \"100ms\"\n"
        )
    });
    let daemon = Daemon::start(&plant).await;
    std::fs::write(camera.join("1.jpg"), jpeg(250)).expect("written");
    std::fs::write(camera.join("2.jpg"), b"cut off").expect("written");
    let raised = plant.next_event("press-2", "bright").await;
    assert_eq!(raised["type"], "io.andon.alert.raised.v1");
    let counted =
        ["shown", "refused"].map(|fate| format!("andon_pictures_total{{fate=\"{fate}\"}} 1"));
    until_metrics(&daemon, &counted.each_ref().map(String::as_str)).await;
    daemon.stop().await;

    // The next life shows what is new, and nothing again.
    let daemon = Daemon::start(&plant).await;
    std::fs::write(camera.join("3.png"), png(0)).expect("written");
    let cleared = plant.next_event("press-2", "bright").await;
    assert_eq!(cleared["type"], "io.andon.alert.cleared.v1");
    until_metrics(&daemon, &["andon_pictures_received_total 1"]).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_pictures_are_counted_and_set_aside_and_the_next_good_one_is_looked_at() {
    let mut plant = plant().await;
    plant.rewrite(|text| {
        text.replace("client_id = \"andon\"", "client_id = \"andon\"\nmax_payload = \"4KiB\"")
    });
    let daemon = Daemon::start(&plant).await;
    let whole = jpeg(250);
    let topic = "plant/press-1/camera/top";
    plant.publish(topic, &whole[..whole.len() / 2]).await;
    plant.publish(topic, &huge()).await;
    plant.publish(topic, b"no picture").await;
    plant.publish(topic, &[&whole[..], &[0; 8192]].concat()).await;
    plant.publish(topic, &png(250)).await;
    let raised = plant.next_event("press-1", "bright").await;
    assert_eq!(raised["data"]["state"], "active");
    until_metrics(
        &daemon,
        &[
            "andon_pictures_received_total 3",
            "andon_pictures_total{fate=\"refused\"} 2",
            "andon_pictures_total{fate=\"shown\"} 1",
            "andon_samples_rejected_total{reason=\"unreadable\"} 1",
            "andon_samples_rejected_total{reason=\"too_large\"} 1",
        ],
    )
    .await;
    let database = plant.folder.path().join("andon.db");
    daemon.stop().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", database.display())).await;
    let aside: Vec<String> = sqlx::query_scalar("SELECT detail FROM quarantine")
        .fetch_all(&pool.expect("a database"))
        .await
        .expect("a table");
    for words in ["10000 x 10000 pixels", "broken or cut off", "begins like neither", "max_payload"]
    {
        assert!(aside.iter().any(|detail| detail.contains(words)), "{words}: {aside:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_and_readings_of_one_broker_are_all_confirmed() {
    const EACH: i64 = 300;
    let plant = plant().await;
    let daemon = Daemon::start(&plant).await;
    for second in 0..EACH {
        plant.publish("plant/press-1/camera/top", &png(10)).await;
        plant.send("press-1", second, &[("temperature", 20.0)]).await;
    }
    until_metrics(
        &daemon,
        &["andon_pictures_received_total 300", "andon_samples_stored_total 300"],
    )
    .await;
    let totals = daemon.stop().await;
    assert_eq!((totals.received, totals.stored, totals.in_flight), (300, 300, 0));

    // The session would give to the next life what the last one did not confirm.
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", EACH, &[("temperature", 21.0)]).await;
    until_metrics(&daemon, &["andon_samples_stored_total 1", "andon_pictures_received_total 0"])
        .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_refuses_a_prediction_that_no_camera_feeds_and_takes_one_that_is_fed() {
    let plant = plant().await;
    let told = |plant: &Plant| match andon::plan::read(&plant.config()) {
        Ok(_) => String::new(),
        Err(found) => found.to_string(),
    };
    assert_eq!(told(&plant), "");
    plant.rewrite(|text| {
        text.replace("camera/{tag}", "camera").replace("{asset}/camera", "saw/camera")
    });
    plant.rewrite(|text| text.replace("\"image\"", "\"image\"\nasset = \"saw-1\""));
    let unfed = told(&plant);
    assert!(unfed.contains("no source brings any of its assets"), "{unfed}");
    assert!(unfed.contains("payload = \"image\""), "{unfed}");
    plant.rewrite(|text| text.replace("saw-1", "press-7"));
    assert_eq!(told(&plant), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_is_shown_each_picture_too_and_changes_nothing_about_it() {
    let plant = plant().await;
    let models = plant.folder.path().join("models");
    plant.rewrite(|text| {
        let at = text.rfind("models = ").expect("it was written above");
        format!("{}models = {models:?}\n", &text[..at])
    });
    put(&models, "1.0.0");
    let mut daemon = Daemon::start(&plant).await;
    put(&models, "1.1.0");
    let (name, version, by) = ("brightness".into(), "1.1.0".into(), "R. Meyer".into());
    swap(&mut daemon, Swap::Shadow { name, version, by }).await.expect("a good version");
    for count in 1..=3 {
        plant.publish("plant/press-1/camera/top", &png(0)).await;
        // One after the other: what waits for a busy model gives way to newer ones.
        compared(&daemon, count).await;
    }
    assert_eq!(compared(&daemon, 3).await["agreement"], 1.0);
    let lines = ["andon_pictures_received_total 3", "andon_pictures_total{fate=\"shown\"} 3"];
    until_metrics(&daemon, &lines).await;
    daemon.stop().await;
}

/// A version of the model, alike but for its number.
fn put(models: &std::path::Path, version: &str) {
    let from =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/brightness/1.0.0");
    let to = models.join("brightness").join(version);
    std::fs::create_dir_all(&to).expect("a folder");
    for file in ["model.onnx", "golden.json"] {
        std::fs::copy(from.join(file), to.join(file)).expect("copied");
    }
    let card = std::fs::read_to_string(from.join("model.toml")).expect("a card");
    let card = card.replace("version = \"1.0.0\"", &format!("version = \"{version}\""));
    std::fs::write(to.join("model.toml"), card).expect("written");
}
