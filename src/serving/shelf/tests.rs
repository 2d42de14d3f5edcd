use std::path::Path;

use super::*;

fn shelf() -> Shelf {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models");
    let runtime = RuntimeSettings { models, ..RuntimeSettings::default() };
    Shelf::new(runtime, ServiceSettings { models: 0, ..ServiceSettings::default() }, [])
}

#[test]
fn of_two_loads_of_one_name_the_second_is_refused_and_the_next_one_may_begin() {
    let shelf = shelf();
    shelf.lock().loading.insert("conv".into());
    let refusal = shelf.load("conv").unwrap_err();
    assert_eq!(refusal, Refusal::unavailable("`conv` is being loaded already"));
    let other = shelf.load("root").unwrap_err();
    assert!(other.message.contains("`service.models` allows 0"), "{other}");
    assert_eq!(shelf.lock().loading.len(), 1, "what was refused is not under way");
    shelf.lock().loading.clear();
    let refusal = shelf.load("conv").unwrap_err();
    assert!(refusal.message.contains("`service.models` allows 0"), "{refusal}");
    assert!(shelf.load("none").unwrap_err().message.contains("no such model"));
}
