//! Where in a picture it is worst: from the model's map to the alert, its text and the board.

use serde_json::json;

use super::board::json as body;
use super::plant::{Daemon, Plant};
use super::process::andon;
use super::snapshots::{camera, kept};

/// A grey PNG with one white pixel.
fn spotted(width: u32, height: u32, (x, y): (usize, usize)) -> Vec<u8> {
    let mut pixels = vec![40; width as usize * height as usize];
    pixels[y * width as usize + x] = 255;
    let mut out = Vec::new();
    let mut writer = png::Encoder::new(&mut out, width, height).write_header().expect("a header");
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("an end");
    out
}

async fn plant() -> Plant {
    let plant = camera("spot").await;
    plant.rewrite(|text| text.replace("name = \"bright\"", "name = \"spots\""));
    plant
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_about_a_picture_says_where_and_the_board_draws_it() {
    let mut plant = plant().await;
    let daemon = Daemon::start(&plant).await;
    // The model sees the middle square of it: four columns from the third on.
    plant.publish("plant/press-1/camera/top", &spotted(8, 4, (4, 1))).await;
    let raised = plant.next_event("press-1", "spots").await;
    let region = json!({ "left": 0.5, "top": 0.25, "width": 0.125, "height": 0.25 });
    assert_eq!(raised["data"]["region"], region);
    let place = "56 % from the left, 38 % from the top";
    assert_eq!(raised["data"]["text"], format!("press-1 has a spot {place}"));
    let kept = kept(&daemon, "press-1", 1).await;
    assert_eq!(kept[0]["region"], region);
    let alerts = body(&daemon.get("/api/v1/alerts").await);
    assert_eq!(alerts[0]["region"], region);
    let page = daemon.get("/assets/press-1").await;
    let drawn = r#"<rect class="region" x="0.5" y="0.25" width="0.125" height="0.25">"#;
    assert_eq!(page.matches(drawn).count(), 2, "at the alert and among the last: {page}");
    assert!(page.contains(&format!("alt=\"press-1, spots: Bad, {place}\"")), "{page}");
    let german = daemon.get("/assets/press-1?lang=de").await;
    assert!(german.contains("am schlimmsten 56 % von links, 38 % von oben"), "{german}");
    daemon.stop().await;

    // The camera is all that there is: no samples in the buffer.
    let explained = |more: &[&str]| {
        let explain = andon("explain", &plant.config()).arg("press-1/spots").args(more).output();
        let explain = explain.expect("a child");
        assert!(explain.status.success(), "{}", String::from_utf8_lossy(&explain.stderr));
        String::from_utf8(explain.stdout).expect("text")
    };
    let drawn = explained(&[]);
    assert!(drawn.contains(&format!("worst at {place}, in a box of 12 by 25 % of")), "{drawn}");
    assert!(drawn.lines().all(|line| !line.contains("each tag")), "it has none: {drawn}");
    let report: serde_json::Value = serde_json::from_str(&explained(&["--json"])).expect("JSON");
    assert_eq!(report["region"], region);

    // As it was, after a restart and where the alert is over.
    let daemon = Daemon::start(&plant).await;
    assert_eq!(body(&daemon.get("/api/v1/alerts").await)[0]["region"], region);
    plant.publish("plant/press-1/camera/top", &spotted(8, 4, (0, 0))).await;
    let cleared = plant.next_event("press-1", "spots").await;
    assert_eq!(cleared["type"], "io.andon.alert.cleared.v1", "the model does not see that corner");
    assert_eq!(cleared["data"]["region"], region, "where it was when it was raised");
    let all = super::snapshots::kept(&daemon, "press-1", 2).await;
    assert_eq!((&all[0]["verdict"], &all[0]["region"]), (&json!("good"), &json!(null)));
    daemon.stop().await;
}
