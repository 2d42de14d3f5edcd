//! A model whose answers cannot be used is told of, once for all its assets.

use super::plant::{Daemon, Plant};
use super::swap::plant as roots;

const ALERT: &str = "root-model";

async fn told(plant: &mut Plant) -> (String, String) {
    let event = plant.next_event("andon", ALERT).await;
    let text = event["data"]["text"].as_str().expect("a sentence").to_owned();
    (event["type"].as_str().expect("a type").to_owned(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_40_answers_that_are_no_numbers_raise_one_alert_that_ends_when_they_are_again() {
    let mut plant = roots(&["1.0.0"]).await;
    let daemon = Daemon::start(&plant).await;
    for (second, press) in [(1, "press-1"), (2, "press-2"), (3, "press-1")] {
        plant.send(press, second, &[("a", -1.0)]).await;
    }
    let (kind, text) = told(&mut plant).await;
    assert_eq!(kind, "io.andon.alert.raised.v1");
    assert_eq!(text, "The model of root is unhealthy: the model answered NaN.");
    for second in 4..8_i32 {
        plant.send("press-1", i64::from(second), &[("a", f64::from(second))]).await;
    }
    assert_eq!(told(&mut plant).await.0, "io.andon.alert.cleared.v1", "and no second raise before");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_40_the_same_answer_to_other_readings_raises_the_alert_too() {
    let mut plant = roots(&["1.0.0"]).await;
    plant.rewrite(|text| format!("{text}[drift]\nconstant = 20\n"));
    let daemon = Daemon::start(&plant).await;
    // Answers come some frames after their readings: a few more than 20 make up for those.
    for second in 1..=60 {
        // Readings that differ in what a float32 does not hold.
        let value = 4.0 + f64::from(second) * 1e-12;
        plant.send("press-1", i64::from(second), &[("a", value)]).await;
    }
    let (kind, text) = told(&mut plant).await;
    assert_eq!(kind, "io.andon.alert.raised.v1");
    let expected = "it has answered 2 to 20 other readings of press-1 in a row.";
    assert!(text.ends_with(expected), "{text}");
    daemon.stop().await;
}
