//! A person annotates: the run asks, waits, takes right answers, refuses wrong ones, and trains on
//! what was answered.

mod made_up;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dasl_volume::dataset::Dataset;
use dasl_volume::{Geometry, LabelVolume, crop_padded, nifti};
use made_up::{Ran, import, run};
use serde_json::Value;

const CONFIG: &str = "[train]\npatch = 32\nwarm_up = 2\n[infer]\ntile = 64\nborder = 8\n\
                      [learn]\ninitial_steps = 4\nround_steps = 3\n\
                      [learn.engine]\nper_round = 2\nal_rounds = 1\n";

struct Bench {
    dataset: PathBuf,
    config: PathBuf,
    _lock: File,
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(|| {
        let (folder, lock) = made_up::shared_folder("queue");
        let (source, dataset) = (folder.join("source"), folder.join("dataset"));
        made_up::scans(&source, 2, 4);
        let config = folder.join("config.toml");
        fs::write(&config, CONFIG).unwrap();
        import(&source, &dataset).done();
        Bench { dataset, config, _lock: lock }
    })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A run in one folder and its queue in another.
struct Reader {
    folder: tempfile::TempDir,
    initial: &'static str,
    sequence: &'static str,
}

impl Reader {
    fn new(initial: &'static str, sequence: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), initial, sequence }
    }

    fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn queue(&self) -> PathBuf {
        self.folder.path().join("to do")
    }

    fn learn(&self) -> Ran {
        self.learn_with(&format!("queue:{}", text(&self.queue())))
    }

    fn learn_with(&self, oracle: &str) -> Ran {
        self.learn_more(oracle, &[])
    }

    fn learn_more(&self, oracle: &str, more: &[&str]) -> Ran {
        let Bench { dataset, config, .. } = bench();
        let out = self.run_folder();
        let words = [
            "learn",
            text(dataset),
            "--out",
            text(&out),
            "--preset",
            "tiny",
            "--config",
            text(config),
            "--validation",
            "0.25",
            "--seed",
            "5",
            "--oracle",
            oracle,
            "--initial",
            self.initial,
            "--sequence",
            self.sequence,
        ];
        run(words.iter().chain(more))
    }

    /// The samples asked for, by name, with their questions.
    fn questions(&self) -> BTreeMap<String, Value> {
        let mut questions = BTreeMap::new();
        for entry in fs::read_dir(self.queue()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "json") {
                let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                questions.insert(value["sample"].as_str().unwrap().to_owned(), value);
            }
        }
        questions
    }

    fn file(&self, sample: &str, what: &str) -> PathBuf {
        self.queue().join(format!("{sample}.{what}"))
    }

    fn mask(&self, sample: &str) -> PathBuf {
        self.file(sample, "mask.nii.gz")
    }

    fn grid(&self, sample: &str) -> Geometry {
        nifti::read_ct(&self.file(sample, "image.nii.gz")).unwrap().geometry
    }

    /// What the readers of the dataset outlined there.
    fn truth(&self, sample: &str) -> LabelVolume {
        let dataset = Dataset::open(&bench().dataset).unwrap();
        let (scan, _) = sample.rsplit_once('#').unwrap();
        let grid = self.grid(sample);
        let at = dataset.scan(scan).unwrap().geometry.to_voxel(grid.origin_mm);
        let start = [at.z, at.y, at.x].map(|v| v.round() as i64);
        LabelVolume::new(dataset.read_labels(scan, start, grid.shape).unwrap(), grid)
    }

    fn answer(&self, sample: &str) {
        nifti::write_labels(&self.mask(sample), &self.truth(sample)).unwrap();
    }

    fn ledger(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.run_folder().join("learn/ledger.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// It waits, and says so in a line that holds these words.
fn waits(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let line = ran.err.lines().last().unwrap();
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}

/// It fails, and says so in a last line that holds these words.
fn fails(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    let line = ran.err.lines().last().unwrap();
    for word in words.iter().chain(&["error: "]) {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}

#[test]
fn a_reader_with_little_time_and_wrong_files() {
    let reader = Reader::new("3", "al");
    let first = reader.learn();
    waits(&first, &["waiting for 3 of 3", "to do", "ID.empty", "run the same command again"]);
    assert_eq!(first.out, "");
    let asked: Vec<String> = reader.questions().into_keys().collect();
    let [a, b, c] = &asked[..] else { panic!("{asked:?}") };
    for (sample, question) in reader.questions() {
        assert!(question["why"].as_str().unwrap().contains("chance"));
        assert!(question["to_do"].as_str().unwrap().contains(&format!("{sample}.mask.nii.gz")));
        assert_eq!(question["current"], Value::Null, "an untrained network says nothing");
        let image = nifti::read_ct(&reader.file(&sample, "image.nii.gz")).unwrap();
        // 32 / 0.75 voxels of 2 mm, tissue and air in Hounsfield units.
        assert_eq!((image.geometry.shape, image.geometry.spacing_mm), ([43; 3], [2.0; 3]));
        assert!(
            image.voxels.iter().any(|&hu| hu > -200) && image.voxels.iter().any(|&hu| hu < -700)
        );
        assert!(reader.truth(&sample).voxels[[21; 3]] != 0, "the nodule is in the middle");
    }

    // One right, one shifted, one empty without saying so; and one that nobody asked for.
    reader.answer(a);
    for odd in ["Empty", "seg.nrrd"] {
        fs::write(reader.file(b, odd), "").unwrap();
    }
    let mut shifted = reader.truth(b);
    shifted.geometry = shifted.geometry.crop([0, 0, 1], shifted.geometry.shape);
    nifti::write_labels(&reader.mask(b), &shifted).unwrap();
    let mut nothing = reader.truth(c);
    nothing.voxels.fill(0);
    nifti::write_labels(&reader.mask(c), &nothing).unwrap();
    fs::write(reader.file("PHANTOM-009#1", "empty"), "").unwrap();
    let second = reader.learn();
    waits(&second, &["waiting for 2 of 3", "2 refused"]);
    for words in [[b.as_str(), "first voxel"], [c, ".empty"], ["PHANTOM-009#1", "left alone"]] {
        let line = second.err.lines().find(|l| l.contains(words[0])).unwrap();
        assert!(line.contains(words[1]), "{line}");
    }
    let notes = fs::read_to_string(reader.queue().join("notes.txt")).unwrap();
    for odd in ["Empty", "seg.nrrd"] {
        let told = format!("left alone: {b}.{odd}: an answer is named ID.mask.nii.gz");
        assert!(second.err.contains(&told) && notes.contains(&told), "{}", second.err);
        fs::remove_file(reader.file(b, odd)).unwrap();
    }
    let reason = fs::read_to_string(reader.file(b, "refused.txt")).unwrap();
    assert!(reason.contains("on the grid of the image"), "{reason}");
    assert!(reader.mask(b).exists(), "a refused file is kept");
    assert!(
        !reader.mask(a).exists() && reader.queue().join(format!("done/{a}.mask.nii.gz")).exists()
    );
    assert!(reader.run_folder().join(format!("annotations/{a}.nii.gz")).exists());

    // Two answers to one question are none.
    fs::write(reader.file(c, "empty"), "").unwrap();
    let third = reader.learn();
    waits(&third, &["waiting for 2 of 3"]);
    assert!(third.err.contains("several answers"), "{}", third.err);
    let status = run(["learn", "status", text(&reader.run_folder())]).done();
    assert!(status.out.contains("waiting for 2 of 3 (2 refused"), "{}", status.out);
    let json = run(["--json", "learn", "status", text(&reader.run_folder())]).done().json();
    assert_eq!(json["waiting"]["pending"].as_array().unwrap().len(), 2);
    assert_eq!((&json["spent"], &json["round"]), (&0.into(), &0.into()));

    // An answer that is taken back is no longer refused, one that is taken holds, and images that
    // are gone come again.
    fs::remove_file(reader.mask(b)).unwrap();
    fs::remove_file(reader.file("PHANTOM-009#1", "empty")).unwrap();
    fs::remove_file(reader.file(b, "image.nii.gz")).unwrap();
    fs::write(reader.file(a, "empty"), "").unwrap();
    let again = reader.learn();
    waits(&again, &["waiting for 2 of 3", "1 refused"]);
    assert!(again.err.contains(&format!("{a}.empty: was answered already")), "{}", again.err);
    assert!(!reader.file(b, "refused.txt").exists());
    fs::remove_file(reader.file(a, "empty")).unwrap();

    // Mended, it trains and comes to the active round.
    fs::remove_file(reader.mask(c)).unwrap();
    reader.answer(b);
    let fourth = reader.learn();
    waits(&fourth, &["waiting for 2 of 2"]);
    assert!(!reader.file(b, "refused.txt").exists());
    let questions = reader.questions();
    assert_eq!(questions.len(), 2);
    for (sample, question) in &questions {
        assert!(!asked.contains(sample));
        assert!(question["score"].as_f64().unwrap() > 0.0);
        assert_eq!(question["nearest"].as_array().unwrap().len(), 3);
        let current = nifti::read_labels(&reader.file(sample, "current.nii.gz")).unwrap();
        assert!(current.geometry.same_grid(&reader.grid(sample), 1e-3));
        reader.answer(sample);
    }
    assert!(!fourth.err.contains("was changed"), "{}", fourth.err);
    let edited = questions.keys().next().unwrap();
    fs::rename(reader.mask(edited), reader.file(edited, "current.nii.gz")).unwrap();
    let fifth = reader.learn();
    waits(&fifth, &["waiting for 1 of 2"]);
    let told = format!("{edited}.current.nii.gz was changed: if that is the answer, name it");
    assert!(fifth.err.contains(&told), "{}", fifth.err);
    // It is not written over when the question is asked again.
    let work = fs::read(reader.file(edited, "current.nii.gz")).unwrap();
    fs::remove_file(reader.file(edited, "json")).unwrap();
    waits(&reader.learn(), &["waiting for 1 of 2"]);
    assert_eq!(fs::read(reader.file(edited, "edited-1.nii.gz")).unwrap(), work);
    fs::rename(reader.file(edited, "edited-1.nii.gz"), reader.mask(edited)).unwrap();
    // The queue may move, and then is asked into; the oracle of a run stays what it is.
    fs::rename(reader.queue(), reader.folder.path().join("moved")).unwrap();
    fails(&reader.learn_with("labels"), &["oracle is queue:", "not labels"]);
    let queue = format!("queue:{}", text(&reader.queue()));
    fails(&reader.learn_more(&queue, &["--budget", "9"]), &["another --initial", "--out"]);
    let words =
        ["learn", text(&bench().dataset), "--out", text(&reader.run_folder())].map(String::from);
    let other = run(words.iter().map(String::as_str).chain(["--preset", "small"]));
    fails(&other, &["another --preset", "leave them out"]);
    reader.learn_with(&format!("queue:{}", text(&reader.folder.path().join("moved")))).done();
    let status = run(["learn", "status", text(&reader.run_folder())]).done();
    assert!(status.out.contains("nothing: the sequence is done"), "{}", status.out);
    let of_last = run(["learn", "status", text(&reader.run_folder()), "--json"]).done().json();
    let last = of_last["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&of_last["round"], &of_last["kind"]), (&last["round"], &last["kind"]));
    assert!(status.out.contains("sum v") && status.out.contains("5 annotations"), "{}", status.out);

    // The ledger counts the voxels of the answers.
    let voxels = |sample: &str| {
        let entry = reader.ledger().into_iter().find(|e| e["sample"] == sample).unwrap();
        assert_eq!(entry["label"], "oracle:queue");
        entry["foreground_voxels"].as_u64().unwrap()
    };
    assert_eq!(voxels(c), 0);
    let kept = reader.run_folder().join(format!("annotations/{b}.nii.gz"));
    let kept = nifti::read_labels(&kept).unwrap();
    assert_eq!(voxels(b), kept.voxels.iter().filter(|&&l| l != 0).count() as u64);

    // All at once comes to the same as bit by bit, and a mask cropped to what is marked to the same
    // as a whole one.
    let swift = Reader::new("3", "al");
    waits(&swift.learn(), &["3 of 3"]);
    let whole = swift.truth(a);
    let grid = whole.geometry.crop([5; 3], [33; 3]);
    let cropped = crop_padded(whole.voxels.view(), [5; 3], [33; 3], 0);
    nifti::write_labels(&swift.mask(a), &LabelVolume::new(cropped, grid)).unwrap();
    swift.answer(b);
    fs::write(swift.file(c, "empty"), "").unwrap();
    waits(&swift.learn(), &["2 of 2"]);
    for sample in questions.keys() {
        swift.answer(sample);
    }
    swift.learn().done();
    let weights = |r: &Reader, round: usize| {
        let name = format!("learn/rounds/{round:04}/weights/checkpoint.safetensors");
        fs::read(r.run_folder().join(name)).unwrap()
    };
    assert_eq!(reader.ledger(), swift.ledger());
    assert!(weights(&reader, 1) == weights(&swift, 1));

    // Answers of a run are known to the next: with all five it trains at once and goes on asking.
    let next = Reader::new("5", "al");
    let queue = format!("queue:{}", text(&next.queue()));
    let from = reader.run_folder();
    let ran = next.learn_more(&queue, &["--annotations", text(&from)]);
    waits(&ran, &["waiting for 2 of 2"]);
    assert!(ran.err.contains("5 answers are known from"), "{}", ran.err);
    let ledger = next.ledger();
    assert!(ledger.iter().all(|e| e["event"] == "given" && e["label"] == "given:queue"));
    assert_eq!(ledger.len(), 5);
    // A folder whose run is gone is no place for another: the reader's work would be lost or mixed in.
    fs::remove_dir_all(next.run_folder().join("learn")).unwrap();
    fs::remove_file(next.run_folder().join("weights.safetensors")).ok();
    fails(&next.learn(), &["answers and no run", "--annotations"]);
    let of_nobody = Reader::new("5", "al");
    let ran = of_nobody.learn_more(&queue, &["--annotations", text(&bench().dataset)]);
    fails(&ran, &["is no run of dasl"]);
    let ran = of_nobody.learn_more("labels", &["--annotations", text(&from)]);
    fails(&ran, &["--oracle queue:DIR"]);

    // And other answers to another network: they are what is trained on, not the dataset's labels.
    let other = Reader::new("3", "al");
    waits(&other.learn(), &["3 of 3"]);
    for sample in &asked {
        fs::write(other.file(sample, "empty"), "").unwrap();
    }
    waits(&other.learn(), &["2 of 2"]);
    assert!(weights(&reader, 0) != weights(&other, 0));
}

#[test]
fn an_answer_that_was_kept_before_the_run_noted_it_is_not_asked_for_again() {
    let reader = Reader::new("2", "al");
    waits(&reader.learn(), &["waiting for 2 of 2"]);
    let asked: Vec<String> = reader.questions().into_keys().collect();
    let [a, b] = &asked[..] else { panic!("{asked:?}") };
    // The first answer is kept and put away, then the run fails at the second: why it is refused
    // can't be written.
    reader.answer(a);
    fs::write(reader.mask(b), "no image").unwrap();
    fs::create_dir(reader.file(b, "refused.txt")).unwrap();
    fails(&reader.learn(), &["refused.txt"]);
    let kept = reader.run_folder().join(format!("annotations/{a}.nii.gz"));
    assert!(kept.exists() && !reader.mask(a).exists());
    fs::remove_dir(reader.file(b, "refused.txt")).unwrap();
    fs::remove_file(reader.mask(b)).unwrap();
    let before = fs::read(&kept).unwrap();
    waits(&reader.learn(), &["waiting for 1 of 2"]);
    assert_eq!(fs::read(&kept).unwrap(), before);
    // What can't be judged is asked no more and trained on by nobody.
    fs::write(reader.file(b, "declined"), "").unwrap();
    waits(&reader.learn(), &["waiting for 2 of 2"]);
    assert!(!reader.questions().contains_key(b));
    let entry = reader.ledger().into_iter().find(|e| e["sample"] == b.as_str()).unwrap();
    assert_eq!(entry["event"], "declined", "{entry}");
    let status = run(["learn", "status", text(&reader.run_folder())]).done();
    assert!(status.out.contains("1 annotated") && status.out.contains("1 declined"), "{status:?}");
}

#[test]
fn a_pool_smaller_than_asked_for_is_asked_as_it_is() {
    let reader = Reader::new("500", "al");
    let ran = reader.learn();
    let count = reader.questions().len();
    assert!((3..500).contains(&count));
    waits(&ran, &[&format!("waiting for {count} of {count}")]);
    assert!(ran.err.contains("give a smaller --initial"), "{}", ran.err);
}

#[test]
fn the_last_sample_is_asked_alone() {
    let all = Reader::new("500", "al");
    all.learn();
    let count = all.questions().len();
    let initial: &'static str = (count - 1).to_string().leak();
    let reader = Reader::new(initial, "al");
    reader.learn();
    for sample in reader.questions().keys() {
        reader.answer(sample);
    }
    waits(&reader.learn(), &["waiting for 1 of 1"]);
    let questions = reader.questions();
    assert_eq!(questions.values().next().unwrap()["nearest"], Value::Array(Vec::new()));
    for sample in questions.keys() {
        fs::write(reader.file(sample, "empty"), "").unwrap();
    }
    reader.learn().done();
}

#[test]
fn what_cannot_be_written_is_named() {
    let reader = Reader::new("1", "al");
    fs::write(reader.queue(), "a file where the folder should be").unwrap();
    fails(&reader.learn(), &["to do", "cannot be read or written"]);
    fs::remove_file(reader.queue()).unwrap();
    waits(&reader.learn(), &["waiting for 1 of 1"]);

    let sample = reader.questions().into_keys().next().unwrap();
    reader.answer(&sample);
    // Where the answer is kept stands a file.
    fs::write(reader.run_folder().join("annotations"), "").unwrap();
    fails(&reader.learn(), &["annotations"]);
    fs::remove_file(reader.run_folder().join("annotations")).unwrap();
    // Where the next image goes stands a folder.
    let probe = Reader::new("1", "al");
    probe.learn();
    probe.answer(&sample);
    probe.learn();
    let next = probe.questions().into_keys().next().unwrap();
    fs::create_dir(reader.file(&next, "image.nii.gz")).unwrap();
    fails(&reader.learn(), &[&format!("{next}.image.nii.gz"), "cannot be written"]);
    fs::remove_dir(reader.file(&next, "image.nii.gz")).unwrap();
    waits(&reader.learn(), &["waiting for 2 of 2"]);
}

#[test]
fn oracles_and_runs_that_are_none() {
    let reader = Reader::new("1", "al");
    let ran = reader.learn_with("queue:");
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("queue:DIR"), "{}", ran.err);
    run(["learn", "status", text(reader.folder.path())]).failed(&["is no run of dasl"]);
}
