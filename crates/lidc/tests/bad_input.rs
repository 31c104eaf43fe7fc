//! Readings that are damaged, foreign or odd: a clear error each, never a panic or a guess.

use dasl_lidc::{
    Ignored, IgnoredKind, LidcError, Reading, Rule, XmlKind, ignored, nodules, read_xml,
    same_series,
};
use dasl_volume::{Geometry, PointMm};
use proptest::prelude::*;
use std::fmt::Write as _;

const RATINGS: &str = "<characteristics><subtlety>5</subtlety>\
    <internalStructure>1</internalStructure><calcification>6</calcification>\
    <sphericity>3</sphericity><margin>3</margin><lobulation>3</lobulation>\
    <spiculation>4</spiculation><texture>5</texture><malignancy>4</malignancy></characteristics>";

/// A closed square outline of side 6 whose upper left corner is (x, y).
fn square(z: &str, x: i64, y: i64) -> String {
    let (x1, y1) = (x + 6, y + 6);
    roi(z, &[[x, y], [x1, y], [x1, y1], [x, y1], [x, y]])
}

fn roi(z: &str, points: &[[i64; 2]]) -> String {
    let mut text = format!(
        "<roi><imageZposition>{z}</imageZposition><imageSOP_UID>1.2</imageSOP_UID>\n\
         <inclusion>TRUE</inclusion>"
    );
    for [x, y] in points {
        write!(text, "<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>").unwrap();
    }
    text + "</roi>"
}

fn nodule(inner: &str) -> String {
    format!("<unblindedReadNodule><noduleID>N1</noduleID>{inner}</unblindedReadNodule>")
}

fn message(session: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<LidcReadMessage xmlns=\"http://www.nih.gov\">\n\
         <ResponseHeader><SeriesInstanceUid>1.2.3 </SeriesInstanceUid></ResponseHeader>\n\
         <readingSession>{session}</readingSession></LidcReadMessage>"
    )
}

fn read(text: &str) -> Result<XmlKind, LidcError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reading.xml");
    std::fs::write(&file, text).unwrap();
    read_xml(&file)
}

fn reading(session: &str) -> Reading {
    match read(&message(session)).unwrap() {
        XmlKind::Ct(reading) => reading,
        XmlKind::XRay => panic!("a CT's XML"),
    }
}

fn complaint(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn grid() -> Geometry {
    Geometry::axial([10, 64, 64], [2.5, 0.7, 0.7], PointMm::new(0.0, 0.0, -100.0))
}

fn place(session: &str) -> Result<Vec<dasl_lidc::Nodule>, LidcError> {
    nodules(&reading(session), &grid(), 2.5, Rule::Pylidc)
}

#[test]
fn a_sound_reading_is_read() {
    let session = nodule(&(RATINGS.to_owned() + &square("-95.000000 ", 10, 20)));
    let found = place(&session).unwrap();
    assert_eq!(found.len(), 1);
    // By pylidc: 25 inside and the 5 of the right side, whose pixels are no points of the outline.
    let centroid = found[0].centroid;
    assert_eq!(found[0].mask.count(), 30);
    assert_eq!((centroid.z, centroid.y, centroid.x), (2.0, 23.0, 13.5));
    assert_eq!(found[0].malignancy, [4]);
}

#[test]
fn malformed_xml_names_file_and_place() {
    let text = message(&nodule("<roi>"));
    let said = complaint(&text);
    assert!(said.contains("reading.xml") && said.contains("not well-formed"), "{said}");
    assert!(complaint("").contains("not well-formed"));
    let half = &message(&nodule(RATINGS))[..300];
    assert!(complaint(half).contains("not well-formed"));
}

#[test]
fn bytes_that_are_no_text_and_a_missing_file_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reading.xml");
    assert!(matches!(read_xml(&file), Err(LidcError::Read { .. })));
    std::fs::write(&file, b"<LidcReadMessage>\xff\xfe</LidcReadMessage>").unwrap();
    assert!(read_xml(&file).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn an_x_ray_reading_is_told_apart() {
    assert_eq!(read("<IdriReadMessage xmlns=\"x\"><a/></IdriReadMessage>").unwrap(), XmlKind::XRay);
}

#[test]
fn other_xml_is_named() {
    let said = complaint("<svg><g/></svg>");
    assert!(said.contains("<svg>") && said.contains("LidcReadMessage"), "{said}");
}

#[test]
fn missing_and_odd_fields_name_element_and_line() {
    let with_z = square("-95", 10, 20);
    let without = with_z.replace("<imageZposition>-95</imageZposition>", "");
    let cases = [
        (nodule(&without), "<imageZposition>"),
        (nodule(&square("high", 1, 1)), "\"high\""),
        (nodule(&square("NaN", 1, 1)), "NaN"),
        (nodule(&with_z.replace("TRUE", "MAYBE")), "\"maybe\""),
        (nodule(&with_z.replace("<xCoord>10", "<xCoord>1e9")), "\"1e9\""),
        (nodule(&with_z.replace("<xCoord>10", "<xCoord>99999999999")), "99999999999"),
        (nodule(&roi("-95", &[])), "<edgeMap>"),
        (nodule(&RATINGS.replace("<margin>3</margin>", "")), "<margin>"),
        (nodule(&RATINGS.replace("<margin>3", "<margin>-3")), "\"-3\""),
        ("<unblindedReadNodule/>".to_owned(), "<noduleID>"),
        ("<nonNodule><nonNoduleID>1</nonNoduleID></nonNodule>".to_owned(), "<imageZposition>"),
    ];
    for (session, word) in cases {
        let error = read(&message(&session)).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, LidcError::Element { line: 4.., .. }), "{said}");
        assert!(said.contains("reading.xml line") && said.contains(word), "{word}: {said}");
    }
    let said = complaint(&message("").replace("SeriesInstanceUid", "Other"));
    assert!(said.contains("SeriesInstanceUid"), "{said}");
}

#[test]
fn a_point_without_ratings_is_a_small_nodule_and_no_annotation() {
    let session = nodule(&roi("-95", &[[3, 4]]))
        + &nodule(&("<characteristics/>".to_owned() + &roi("-95", &[[5, 6]])));
    let reading = reading(&session);
    let nodules = &reading.sessions[0].nodules;
    assert_eq!(nodules.len(), 2);
    assert!(nodules.iter().all(|n| n.is_small() && n.characteristics.is_none()));
    assert_eq!(nodules[0].rois[0].points, [[3, 4]]);
    assert!(place(&session).unwrap().is_empty());
}

#[test]
fn a_single_point_on_one_slice_of_an_outlined_nodule_is_left_out() {
    let outline = RATINGS.to_owned() + &square("-95", 10, 20);
    // Far from any slice: it would be an error if it counted.
    let found = place(&nodule(&(outline.clone() + &roi("900", &[[12, 22]])))).unwrap();
    assert_eq!(found, place(&nodule(&outline)).unwrap());
}

#[test]
fn the_xml_of_another_series_is_refused() {
    let reading = reading("");
    same_series(&reading, "1.2.3").unwrap();
    let said = same_series(&reading, "1.2.4").unwrap_err().to_string();
    assert!(said.contains("1.2.3") && said.contains("1.2.4"), "{said}");

    // Taken all the same, its slices do not fit.
    let said =
        place(&nodule(&(RATINGS.to_owned() + &square("40.25", 1, 1)))).unwrap_err().to_string();
    for word in ["1.2.3", "reader 1", "N1", "40.25", "-100", "-77.5", "do not fit"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn points_outside_the_image_are_refused_not_clipped() {
    for (x, y) in [(58, 0), (0, 58), (-1, 3), (3, -1), (2_000_000_000, 5), (5, -2_000_000_000)] {
        let session = nodule(&(RATINGS.to_owned() + &square("-95", x, y)));
        let error = place(&session).unwrap_err();
        assert!(matches!(error, LidcError::OutsideImage { columns: 64, rows: 64, .. }), "{error}");
    }
    place(&nodule(&(RATINGS.to_owned() + &square("-95", 57, 57)))).unwrap();
}

#[test]
fn a_grid_that_is_not_axial_or_has_no_thickness_is_refused() {
    let reading = reading("");
    let mut coronal = grid();
    coronal.axes = [[0., 1., 0.], [0., 0., 1.], [1., 0., 0.]];
    let said = nodules(&reading, &coronal, 2.5, Rule::Pylidc).unwrap_err().to_string();
    assert!(said.contains("axial"), "{said}");
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let said = nodules(&reading, &grid(), bad, Rule::Pylidc).unwrap_err().to_string();
        assert!(said.contains("thickness"), "{said}");
    }
    assert!(nodules(&reading, &grid(), 2.5, Rule::Pylidc).unwrap().is_empty());
}

proptest! {
    #[test]
    fn cut_off_anywhere_it_is_an_error(at in 0usize..1000) {
        let text = message(&nodule(&(RATINGS.to_owned() + &square("-95", 10, 20))));
        prop_assert!(read(&text[..at.min(text.len() - 1)]).is_err());
    }

    #[test]
    fn any_outline_inside_the_image_gives_a_mask_inside_its_box(
        points in prop::collection::vec((0i64..64, 0i64..64), 2..12),
    ) {
        let points: Vec<[i64; 2]> = points.into_iter().map(|(x, y)| [x, y]).collect();
        let session = nodule(&(RATINGS.to_owned() + &roi("-95", &points)));
        for nodule in place(&session).unwrap() {
            for [z, y, x] in nodule.mask.indices() {
                prop_assert_eq!(z, 2);
                prop_assert!(!points.contains(&[x as i64, y as i64]));
                prop_assert!(points.iter().any(|p| p[0] <= x as i64));
                prop_assert!(points.iter().any(|p| p[1] >= y as i64));
            }
        }
    }
}

#[test]
fn what_does_not_count_is_told_by_kind_and_place() {
    let mark = "<nonNodule><nonNoduleID>9</nonNoduleID><imageZposition>-90.0</imageZposition>\
        <imageSOP_UID>1.2</imageSOP_UID><locus><xCoord>7</xCoord><yCoord>8</yCoord></locus>\
        </nonNodule>";
    let outside = mark.replace("-90.0", "900");
    let outlined = nodule(&(RATINGS.to_owned() + &square("-95", 10, 20)));
    let session = nodule(&roi("-97.5", &[[3, 4]])) + &outlined + mark + &outside;
    let of = |rule| ignored(&reading(&session), &grid(), 2.5, rule).unwrap();
    let kinds = |rule| of(rule).iter().map(|i| i.kind).collect::<Vec<_>>();
    let (small, other) = (IgnoredKind::SmallNodule, IgnoredKind::NonNodule);
    assert_eq!(kinds(Rule::Pylidc), [small, other]);
    // Outlined by one reader only.
    let found = of(Rule::ThreeReadersUnion);
    assert_eq!(kinds(Rule::ThreeReadersUnion), [small, other, IgnoredKind::FewReaders]);
    let near = |point: PointMm, [x, y, z]: [f64; 3]| {
        [point.x - x, point.y - y, point.z - z].iter().all(|d| d.abs() < 1e-9)
    };
    assert!(near(found[0].center_mm, [3.0 * 0.7, 4.0 * 0.7, -97.5]), "{found:?}");
    assert!(near(found[1].center_mm, [7.0 * 0.7, 8.0 * 0.7, -90.0]), "{found:?}");
    assert!(near(found[2].center_mm, [13.0 * 0.7, 23.0 * 0.7, -95.0]), "{found:?}");
    assert!((found[2].diameter_mm - 6.0 * 0.7).abs() < 1e-9);
}

#[test]
fn an_outlined_nodule_without_ratings_is_a_place_that_does_not_count() {
    let outlines = square("-92.5", 10, 20) + &square("-95", 9, 20) + &square("-97.5", 10, 20);
    let found = ignored(&reading(&nodule(&outlines)), &grid(), 2.5, Rule::Pylidc).unwrap();
    let [Ignored { kind: IgnoredKind::Unrated, center_mm, diameter_mm }] = found[..] else {
        panic!("{found:?}")
    };
    // From 9 to 16 and from 20 to 26, on the slice in the middle.
    let [x, y, z] = [12.5 * 0.7, 23.0 * 0.7, -95.0];
    assert!([center_mm.x - x, center_mm.y - y, center_mm.z - z].iter().all(|d| d.abs() < 1e-9));
    assert!((diameter_mm - 7.0 * 0.7).abs() < 1e-9);
}
