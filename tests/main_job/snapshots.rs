//! Pictures over MQTT, as a camera publishes them: looked at, told of, refused, given up.

use std::time::Duration;

use andon::picture::{self, Limits};
use andon::reload::Swap;
use serde_json::Value;

use super::PATIENCE;
use super::board::{json, status};
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
    camera("brightness").await
}

pub(super) async fn camera(model: &str) -> Plant {
    let plant = Plant::new(&CAMERA.replace("brightness", model)).await;
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
    until_metrics(
        &daemon,
        &[
            "andon_samples_stored_total 1",
            "andon_samples_received_total 1",
            "andon_pictures_received_total 0",
        ],
    )
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

/// A large picture, its left half of one grey and its right half of another.
fn large(left: u8, right: u8) -> Vec<u8> {
    const WIDTH: u16 = 600;
    let row: Vec<u8> = (0..WIDTH).flat_map(|x| [if x < 300 { left } else { right }; 3]).collect();
    let mut out = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut out, 90);
    encoder.encode(&row.repeat(400), WIDTH, 400, jpeg_encoder::ColorType::Rgb).expect("a JPEG");
    out
}

/// The list of an asset's pictures, once there are so many.
pub(super) async fn kept(daemon: &Daemon, asset: &str, count: usize) -> Vec<Value> {
    let path = format!("/api/v1/assets/{asset}/snapshots");
    let listed = async {
        loop {
            let answer = daemon.get(&path).await;
            if status(&answer) == 200 && json(&answer).as_array().map(Vec::len) == Some(count) {
                return json(&answer).as_array().expect("a list").clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let listed = tokio::time::timeout(PATIENCE, listed).await;
    listed.unwrap_or_else(|_| panic!("{asset} never has {count} pictures"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_are_kept_in_small_with_what_was_said_and_the_alert_shows_the_one_that_raised_it()
{
    let mut plant = plant().await;
    let daemon = Daemon::start(&plant).await;
    plant.publish("plant/press-1/camera/top", &png(0)).await;
    kept(&daemon, "press-1", 1).await;
    plant.publish("plant/press-1/camera/top", &large(210, 250)).await;
    let alert = plant.next_event("press-1", "bright").await;
    plant.publish("plant/press-2/camera/top", &png(9)).await;
    kept(&daemon, "press-2", 1).await;
    let listed = kept(&daemon, "press-1", 2).await;
    let (bright, dark) = (&listed[0], &listed[1]);
    assert_eq!((&bright["verdict"], &dark["verdict"]), (&"bad".into(), &"good".into()));
    assert_eq!(bright["label"], Value::Null, "a model with one number names no class");
    assert_eq!(bright["alert_id"], alert["data"]["alert_id"]);
    assert_eq!(dark["alert_id"], Value::Null);
    assert_eq!(bright["raise"], 0.5);
    assert_eq!(bright["bad"], "above");
    let score = |value: &Value| value.as_f64().expect("a score");
    assert!((score(&bright["score"]) - score(&alert["data"]["score"])).abs() < 1e-4, "{bright}");
    assert_eq!(bright["model"], "brightness 1.0.0");
    assert_eq!(bright["width"], 192);
    assert_eq!(bright["height"], 128);
    assert_eq!((dark["width"].as_u64(), dark["height"].as_u64()), (Some(8), Some(6)), "as it was");

    let path = bright["path"].as_str().expect("a path");
    let (head, body) = daemon.get_bytes(path).await;
    let head = head.to_ascii_lowercase();
    for line in [
        "http/1.1 200",
        "content-type: image/jpeg",
        "x-content-type-options: nosniff",
        "cache-control: private, max-age=31536000, immutable",
        "content-security-policy: default-src 'self'",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert_eq!(bright["bytes"], body.len());
    assert!(body.len() < 8192, "{}", body.len());
    let small = picture::decode(&body, Limits::default()).expect("a JPEG");
    assert_eq!((small.width, small.height), (192, 128));
    assert!(small.rgb[0].abs_diff(210) < 4 && small.rgb[191 * 3].abs_diff(250) < 4);

    // The board: an asset with a camera alone is there, and shows what was seen.
    let assets = json(&daemon.get("/api/v1/assets").await);
    let states: Vec<_> = assets.as_array().expect("a list").iter().map(|a| &a["state"]).collect();
    assert_eq!(states, ["alert", "normal"], "{assets}");
    let page = daemon.get("/assets/press-1").await;
    assert!(page.contains(">Last pictures<") && page.contains("▲</span> Bad<"), "{page}");
    assert!(page.contains(&format!("src=\"{path}\" width=\"192\" height=\"128\"")), "{page}");
    assert!(page.contains("raised an alert") && page.contains("alt=\"press-1, bright: Bad\""));
    assert!(daemon.get("/assets/press-1?lang=de").await.contains("▲</span> Schlecht<"));
    let card = daemon.get("/").await;
    assert_eq!(card.matches(&format!("src=\"{path}\"")).count(), 1, "{card}");
    let metrics = daemon.get("/metrics").await;
    assert!(metrics.contains("andon_snapshots 3"), "{metrics}");

    for (path, code) in [
        ("/api/v1/snapshots/7", 404),
        ("/api/v1/snapshots/-1", 404),
        ("/api/v1/snapshots/top", 400),
        ("/api/v1/assets/press-9/snapshots", 404),
        ("/api/v1/assets/press-1/snapshots?limit=1001", 400),
        ("/api/v1/assets/press-1/snapshots?most=1", 400),
    ] {
        let answer = daemon.get(path).await;
        assert_eq!(status(&answer), code, "{path}");
        assert!(json(&answer)["error"].is_string(), "{answer}");
    }
    daemon.stop().await;

    let daemon = Daemon::start(&plant).await;
    assert_eq!(kept(&daemon, "press-1", 2).await, listed, "a restart forgets nothing");
    assert_eq!(daemon.get_bytes(path).await.1, body);
    let page = daemon.get("/assets/press-2").await;
    assert!(page.contains("●</span> Good<"), "{page}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_pictures_are_kept_as_the_configuration_says_or_none() {
    let plant = plant().await;
    let only = |assets: &str, snapshots: u32| {
        format!(
            "[[prediction]]\nname = \"b-{snapshots}\"\nmodel = \"brightness\"\n\
             assets = [{assets:?}]\nsnapshots = {snapshots}\n"
        )
    };
    plant.rewrite(|text| {
        let at = text.find("[[prediction]]").expect("one");
        let runtime = &text[text.find("[runtime]").expect("models")..];
        format!("{}{}{}{runtime}", &text[..at], only("press-1", 2), only("press-2", 0))
    });
    let daemon = Daemon::start(&plant).await;
    for (count, level) in [1, 2, 3, 4].into_iter().enumerate() {
        // One after the other: what waits for a busy model gives way to newer ones.
        for asset in ["press-1", "press-2"] {
            plant.publish(&format!("plant/{asset}/camera/top"), &png(level)).await;
        }
        let shown = format!("andon_pictures_total{{fate=\"shown\"}} {}", 2 * (count + 1));
        until_metrics(&daemon, &[&shown]).await;
    }
    daemon.stop().await;
    let daemon = Daemon::start(&plant).await;
    let two = kept(&daemon, "press-1", 2).await;
    let (_, newest) = daemon.get_bytes(two[0]["path"].as_str().expect("a path")).await;
    let newest = picture::decode(&newest, Limits::default()).expect("a JPEG");
    assert!(newest.rgb[0].abs_diff(4) <= 1, "{}", newest.rgb[0]);
    // Nothing is known of the other: it has no pictures, and no samples.
    assert_eq!(status(&daemon.get("/api/v1/assets/press-2/snapshots").await), 404);
    daemon.stop().await;
}
