//! Data that no longer look like those of the training raise an alert of their own, and its end.

use std::path::Path;
use std::time::Duration;

use super::PATIENCE;
use super::board::json;
use super::plant::{Daemon, Plant};

fn config() -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    format!(
        r#"
[[prediction]]
name = "failure"
model = "machine-failure/1.1.0"
assets = ["mill-*"]
alert = {{ raise = 1.0 }}
[drift]
frames = 20
psi = 50.0
ks = 0.95
outside = 0.5
[runtime]
models = {models:?}
"#
    )
}

async fn mill(plant: &Plant, seconds: std::ops::Range<i64>, torque: f64) {
    for second in seconds {
        let values = [
            ("type", 1.0),
            ("air_temperature", 300.0),
            ("process_temperature", 310.0),
            ("rotational_speed", 1500.0),
            ("torque", torque),
            ("tool_wear", 100.0),
        ];
        plant.send("mill-1", second, &values).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_raises_an_alert_that_names_the_tag_and_ends_by_itself() {
    let mut plant = Plant::new(&config()).await;
    let daemon = Daemon::start(&plant).await;
    mill(&plant, 0..20, 40.0).await;
    mill(&plant, 20..40, 400.0).await;
    let raised = plant.next_event("mill-1", "failure-drift").await;
    assert_eq!(raised["type"], "io.andon.alert.raised.v1");
    let data = &raised["data"];
    assert_eq!(data["contributions"][0]["tag"], "torque");
    assert_eq!(data["model"]["name"], "machine-failure");
    let text = data["text"].as_str().expect("a sentence");
    assert!(text.contains("torque: ") && text.contains("outside the training range"), "{text}");

    let health = json(&daemon.get("/api/v1/models/health").await);
    let model = &health[0];
    assert_eq!((&model["prediction"], &model["device"]), (&"failure".into(), &"cpu".into()));
    let features = model["assets"][0]["features"].as_array().expect("features");
    let torque = features.iter().find(|f| f["tag"] == "torque").expect("the torque");
    assert_eq!(torque["state"], "drifted");
    assert!(torque["psi"].as_f64().is_some_and(|psi| psi > 1.0), "{torque}");
    assert_eq!(features.iter().filter(|f| f["state"] == "drifted").count(), 1);
    // The scores are drawn when the model has answered; drift is seen before it is asked.
    let drawn = async {
        loop {
            let page = daemon.get("/models?lang=de").await;
            if page.contains("<rect") {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let page = tokio::time::timeout(PATIENCE, drawn).await.expect("the scores are drawn");
    assert!(page.contains("abgewichen"), "{page}");
    let metrics = daemon.get("/metrics").await;
    let series = r#"andon_model_feature_outside{prediction="failure",feature="torque"}"#;
    assert!(metrics.contains(series), "{metrics}");

    mill(&plant, 40..80, 40.0).await;
    let cleared = plant.next_event("mill-1", "failure-drift").await;
    assert_eq!(cleared["type"], "io.andon.alert.cleared.v1");
    daemon.stop().await;
}
