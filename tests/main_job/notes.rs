//! Texts over MQTT, as operators and controllers write them: read, told of, refused.

use super::plant::{Daemon, Plant};
use super::snapshots::until_metrics;

const NOTES: &str = r#"
[[mqtt]]
broker = "plant"
topic = "plant/{asset}/notes"
payload = "text"
[[prediction]]
name = "note"
model = "words"
assets = ["press-*"]
"#;

async fn plant(rules: &str) -> Plant {
    let plant = Plant::new(rules).await;
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models");
    plant.rewrite(|text| format!("{text}[runtime]\nmodels = {models:?}\n"));
    plant
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_of_a_leak_raises_an_alert_with_its_words_and_a_good_one_clears_it() {
    let mut plant = plant(NOTES).await;
    let daemon = Daemon::start(&plant).await;
    plant.publish("plant/press-1/notes", "alles gut".as_bytes()).await;
    let note = "Pumpe  LECKT,\r\n<script>alert(1)</script> leckt öl\u{1b}[2J";
    plant.publish("plant/press-1/notes", note.as_bytes()).await;
    let raised = plant.next_event("press-1", "note").await;
    let shown = "Pumpe LECKT, <script>alert(1)</script> leckt öl [2J";
    assert_eq!(raised["type"], "io.andon.alert.raised.v1");
    assert_eq!(raised["data"]["note"], shown);
    assert_eq!(raised["data"]["explanation"], "pending");
    // Words with punctuation are none that the model knows: `leckt,` counts nothing.
    let explained = plant.next_event("press-1", "note").await;
    assert_eq!(explained["type"], "io.andon.alert.explained.v1");
    assert_eq!(explained["data"]["explanation"], "words");
    let first = &explained["data"]["contributions"][0];
    assert_eq!((&first["tag"], &first["share"]), (&"LECKT".into(), &0.5.into()), "{explained}");
    let text = explained["data"]["text"].as_str().expect("a sentence");
    let said = "; note says 0.5, limit 0.5, mostly because of LECKT.";
    assert_eq!(text, format!("press-1: “{shown}”{said}"));

    let page = daemon.get("/assets/press-1").await;
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; leckt öl"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");

    plant.command("press-1", "note", r#"{"action":"acknowledge","by":"shift lead"}"#).await;
    assert_eq!(plant.next_event("press-1", "note").await["data"]["state"], "acknowledged");
    plant.publish("plant/press-1/notes", b"leckt behoben").await;
    let cleared = plant.next_event("press-1", "note").await;
    assert_eq!(cleared["type"], "io.andon.alert.cleared.v1");
    plant.publish("plant/saw-1/notes", b"leckt").await;
    let counted = [
        "andon_texts_received_total 4",
        "andon_texts_total{fate=\"shown\"} 3",
        "andon_texts_total{fate=\"unwanted\"} 1",
        "andon_pictures_received_total 0",
    ];
    until_metrics(&daemon, &counted).await;
    // Texts are no samples.
    let totals = daemon.stop().await;
    assert_eq!((totals.received, totals.stored, totals.in_flight), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_text_is_counted_and_set_aside_and_the_next_good_one_is_read() {
    let mut plant = plant(NOTES).await;
    let daemon = Daemon::start(&plant).await;
    let topic = "plant/press-1/notes";
    plant.publish(topic, b"l\xe4uft").await;
    plant.publish(topic, &[b'x'; 4097]).await;
    plant.publish(topic, b" \r\n").await;
    plant.publish(topic, b"leckt\0").await;
    plant.publish(topic, "leckt öl".as_bytes()).await;
    let raised = plant.next_event("press-1", "note").await;
    assert_eq!(raised["data"]["note"], "leckt öl");
    let counted = [
        "andon_texts_received_total 1",
        "andon_texts_total{fate=\"shown\"} 1",
        "andon_samples_rejected_total{reason=\"unreadable\"} 3",
        "andon_samples_rejected_total{reason=\"too_large\"} 1",
    ];
    until_metrics(&daemon, &counted).await;
    let database = plant.folder.path().join("andon.db");
    daemon.stop().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", database.display())).await;
    let aside: Vec<String> = sqlx::query_scalar("SELECT detail FROM quarantine")
        .fetch_all(&pool.expect("a database"))
        .await
        .expect("a table");
    for words in ["byte 1", "4097 bytes; the most is 4096", "nothing but spaces", "NUL"] {
        assert!(aside.iter().any(|detail| detail.contains(words)), "{words}: {aside:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_that_no_label_names_is_counted_and_makes_no_verdict() {
    let mut plant = plant(&NOTES.replace("\"words\"", "\"word-class\"")).await;
    let daemon = Daemon::start(&plant).await;
    plant.publish("plant/press-1/notes", b"something else").await;
    plant.publish("plant/press-1/notes", b"LEAK").await;
    let raised = plant.next_event("press-1", "note").await;
    assert_eq!(
        (&raised["data"]["label"], &raised["data"]["note"]),
        (&"leak".into(), &"LEAK".into())
    );
    let counted = [
        "andon_texts_total{fate=\"shown\"} 2",
        "andon_verdicts_unhealthy_total{model=\"word-class/1.0.0@cpu\"} 1",
    ];
    until_metrics(&daemon, &counted).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_and_readings_of_one_broker_are_all_confirmed() {
    const EACH: i64 = 300;
    let plant = plant(NOTES).await;
    let daemon = Daemon::start(&plant).await;
    for second in 0..EACH {
        plant.publish("plant/press-1/notes", b"gut").await;
        plant.send("press-1", second, &[("temperature", 20.0)]).await;
    }
    let counted = ["andon_texts_received_total 300", "andon_samples_stored_total 300"];
    until_metrics(&daemon, &counted).await;
    let totals = daemon.stop().await;
    assert_eq!((totals.received, totals.stored, totals.in_flight), (300, 300, 0));

    // The session would give to the next life what the last one did not confirm.
    let daemon = Daemon::start(&plant).await;
    plant.send("press-1", EACH, &[("temperature", 21.0)]).await;
    let counted = ["andon_samples_stored_total 1", "andon_texts_received_total 0"];
    until_metrics(&daemon, &counted).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_refuses_a_prediction_whose_texts_nothing_brings() {
    let plant = plant(NOTES).await;
    let told = |plant: &Plant| match andon::plan::read(&plant.config()) {
        Ok(_) => String::new(),
        Err(found) => found.to_string(),
    };
    assert_eq!(told(&plant), "");
    plant.rewrite(|text| text.replace("\"text\"", "\"image\""));
    let unfed = told(&plant);
    assert!(unfed.contains("the model reads texts"), "{unfed}");
    assert!(unfed.contains("payload = \"text\""), "{unfed}");
}
