//! Readings as an LIDC XML file (`LidcReadMessage`).

use crate::outline::ring;
use crate::reader::{Annotation, Ratings, Reading};
use ndarray::Axis;
use std::fmt::Write;

/// What the XML says about the images.
pub struct SeriesNames<'a> {
    /// Study instance UID.
    pub study_uid: &'a str,
    /// Series instance UID.
    pub series_uid: &'a str,
    /// SOP instance UID of each slice, by z index.
    pub slice_uids: &'a [String],
    /// Image position z of each slice, mm, by z index.
    pub slice_z_mm: &'a [f64],
}

/// The XML of one scan's readings, as LIDC-IDRI writes it: nodules of 3 mm and more with ratings
/// and outlines, smaller ones with one point, non-nodules with a locus.
pub fn message(readings: &[Reading], names: &SeriesNames) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let series = names.series_uid;
    // Writing to a string cannot fail.
    let _ = write!(
        xml,
        "<LidcReadMessage uid=\"{series}.0\" xmlns=\"http://www.nih.gov\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n\
         <ResponseHeader>\n<Version>1.8.1</Version>\n<MessageId>1</MessageId>\n\
         <DateRequest>2000-01-01</DateRequest>\n<TimeRequest>00:00:00</TimeRequest>\n\
         <RequestingSite>phantom</RequestingSite>\n<ServicingSite>phantom</ServicingSite>\n\
         <TaskDescription>Second unblinded read</TaskDescription>\n\
         <CtImageFile>removed</CtImageFile>\n\
         <SeriesInstanceUid>{series}</SeriesInstanceUid>\n\
         <DateService>2000-01-01</DateService>\n<TimeService>00:00:00</TimeService>\n\
         <ResponseDescription>1 - Reading complete</ResponseDescription>\n\
         <StudyInstanceUID>{}</StudyInstanceUID>\n</ResponseHeader>\n",
        names.study_uid
    );
    for (reader, reading) in readings.iter().enumerate() {
        session(&mut xml, reader + 1, reading, names);
    }
    xml.push_str("</LidcReadMessage>\n");
    xml
}

fn session(xml: &mut String, reader: usize, reading: &Reading, names: &SeriesNames) {
    let _ = write!(
        xml,
        "<readingSession>\n  <annotationVersion>3.12</annotationVersion>\n  \
         <servicingRadiologistID>{reader}</servicingRadiologistID>\n"
    );
    // Readers number their nodules each in their own way; the numbers say nothing.
    let mut number = 100 * reader;
    for annotation in &reading.nodules {
        number += 1;
        let _ = writeln!(xml, "  <unblindedReadNodule>\n    <noduleID>{number}</noduleID>");
        characteristics(xml, &annotation.ratings);
        outlines(xml, annotation, names);
        xml.push_str("  </unblindedReadNodule>\n");
    }
    for &[z, y, x] in &reading.small_nodules {
        number += 1;
        let _ = writeln!(xml, "  <unblindedReadNodule>\n    <noduleID>{number}</noduleID>");
        roi(xml, z, &[(x as i64, y as i64)], names);
        xml.push_str("  </unblindedReadNodule>\n");
    }
    for &[z, y, x] in &reading.non_nodules {
        number += 1;
        let _ = writeln!(xml, "  <nonNodule>\n    <nonNoduleID>{number}</nonNoduleID>");
        image(xml, z, names);
        let _ = writeln!(
            xml,
            "      <locus>\n        <xCoord>{x}</xCoord>\n        <yCoord>{y}</yCoord>\n      \
             </locus>\n  </nonNodule>"
        );
    }
    xml.push_str("</readingSession>\n");
}

fn characteristics(xml: &mut String, r: &Ratings) {
    xml.push_str("    <characteristics>\n");
    for (name, rating) in [
        ("subtlety", r.subtlety),
        ("internalStructure", r.internal_structure),
        ("calcification", r.calcification),
        ("sphericity", r.sphericity),
        ("margin", r.margin),
        ("lobulation", r.lobulation),
        ("spiculation", r.spiculation),
        ("texture", r.texture),
        ("malignancy", r.malignancy),
    ] {
        let _ = writeln!(xml, "      <{name}>{rating}</{name}>");
    }
    xml.push_str("    </characteristics>\n");
}

fn outlines(xml: &mut String, annotation: &Annotation, names: &SeriesNames) {
    let [z0, y0, x0] = annotation.start;
    for (z, slice) in annotation.mask.axis_iter(Axis(0)).enumerate() {
        let points: Vec<_> = ring(&slice.to_owned())
            .into_iter()
            .map(|(x, y)| (x + x0 as i64, y + y0 as i64))
            .collect();
        if !points.is_empty() {
            roi(xml, z0 + z, &points, names);
        }
    }
}

fn roi(xml: &mut String, z: usize, points: &[(i64, i64)], names: &SeriesNames) {
    xml.push_str("    <roi>\n");
    image(xml, z, names);
    xml.push_str("      <inclusion>TRUE</inclusion>\n");
    for (x, y) in points {
        let _ = writeln!(
            xml,
            "      <edgeMap>\n        <xCoord>{x}</xCoord>\n        <yCoord>{y}</yCoord>\n      \
             </edgeMap>"
        );
    }
    xml.push_str("    </roi>\n");
}

fn image(xml: &mut String, z: usize, names: &SeriesNames) {
    let _ = writeln!(
        xml,
        "      <imageZposition>{:.6}</imageZposition>\n      \
         <imageSOP_UID>{}</imageSOP_UID>",
        names.slice_z_mm[z], names.slice_uids[z]
    );
}
