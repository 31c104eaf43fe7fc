//! Figures on patients that a network was trained on are said to flatter.

mod made_up;

use std::fs;

use made_up::{CONFIG, Ran, import, run_in, scans};

const SAID: &str = "show patients that the network was trained on";

/// Whether a command that ended well said so, of so many scans.
fn warned(ran: Ran, scans: &str) -> bool {
    let ran = ran.done();
    let said = ran.err.contains(SAID);
    assert!(!said || ran.err.contains(&format!("{scans} scans {SAID}")), "{ran:?}");
    said
}

#[test]
fn patients_of_this_training_and_of_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (series, name) in scans(&root.join("all"), 9, 5).iter().zip(["a", "a", "a", "b", "c"]) {
        let patient = series.parent().unwrap().parent().unwrap();
        let to = root.join(format!("source-{name}"));
        fs::create_dir_all(&to).unwrap();
        fs::rename(patient, to.join(patient.file_name().unwrap())).unwrap();
    }
    for name in ["a", "b", "c"] {
        import(&root.join(format!("source-{name}")), &root.join(name)).done();
    }
    fs::write(root.join("config.toml"), CONFIG).unwrap();
    let train = "--preset tiny --config @config.toml";
    run_in(root, &format!("train @a {train} --validation 0.34 --out @first")).done();
    run_in(root, &format!("train @b {train} --from @first --out @second")).done();

    let samples = |run: &str, dataset: &str| {
        run_in(root, &format!("evaluate samples @{dataset} --model @{run}"))
    };
    // One of the three patients validates.
    assert!(warned(samples("first", "a"), "2 of 3"));
    assert!(!warned(samples("first", "b"), ""));
    assert!(warned(samples("second", "a"), "2 of 3"));
    assert!(warned(samples("second", "b"), "1 of 1"));

    let evaluated = |name: &str| {
        run_in(root, &format!("segment @source-{name} --model @second --threshold 0 --out @found"))
            .done();
        run_in(root, &format!("evaluate @found @{name}"))
    };
    assert!(warned(evaluated("a"), "2 of 3"));
    assert!(!warned(evaluated("c"), ""));
}
