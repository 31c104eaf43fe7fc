//! The header of a `MetaImage`: lines of `Name = Value`, the last of which names the voxels' file.

use crate::geometry::{Geometry, PointMm};
use crate::voxel_file::{
    Encoding, Header, HeaderError, Layout, Sample, Start, UNSCALED, numbers, sizes,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Fields that are read; others are for people.
const FIELDS: [&str; 24] = [
    "ObjectType",
    "NDims",
    "DimSize",
    "BinaryData",
    "BinaryDataByteOrderMSB",
    "ElementByteOrderMSB",
    "CompressedData",
    "CompressedDataSize",
    "Offset",
    "Position",
    "Origin",
    "TransformMatrix",
    "Rotation",
    "Orientation",
    "ElementSpacing",
    "ElementSize",
    "ElementType",
    "ElementNumberOfChannels",
    "ElementToIntensityFunctionSlope",
    "ElementToIntensityFunctionOffset",
    "HeaderSize",
    "HeaderSizePerSlice",
    "DistanceUnits",
    LAST,
];
/// The field that ends a header.
const LAST: &str = "ElementDataFile";

/// Reads a header from the beginning of a file.
///
/// Offset and direction default to zero and the patient's axes, as in ITK; a voxel size must be
/// there. Takes no more memory than a few times `bytes`, whatever they are.
///
/// # Errors
/// A [`HeaderError`] if it is damaged, or of an image that is not read.
pub fn parse_header(bytes: &[u8]) -> Result<Header, HeaderError> {
    let fields = Fields::read(bytes)?;
    fields.refuse_other_images()?;
    let sample = fields.sample()?;
    let dimensions = fields.needed("DimSize")?;
    let shape = sizes("DimSize", dimensions, sample.bytes())?;
    let data_file = match fields.needed(LAST)? {
        "LOCAL" | "Local" | "local" => None,
        name => Some(PathBuf::from(name)),
    };
    let (start, encoding) = fields.packing(data_file.is_none())?;
    let layout = Layout {
        header_bytes: fields.length,
        line_skip: 0,
        start,
        encoding,
        sample,
        big_endian: fields.big_endian()?,
        scale: UNSCALED,
    };
    Ok(Header { geometry: fields.geometry(shape)?, data_file, layout })
}

/// The fields of a header, and its length.
struct Fields {
    values: BTreeMap<&'static str, String>,
    length: u64,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut fields = Self { values: BTreeMap::new(), length: 0 };
        for (number, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            fields.length += line.len() as u64;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let Some(sign) = line.iter().position(|b| matches!(b, b'=' | b':')) else {
                let nothing_yet = fields.values.is_empty();
                let line = HeaderError::Line(number + 1);
                return Err(if nothing_yet { HeaderError::NotThis("MetaImage") } else { line });
            };
            let (name, value) = (line[..sign].trim_ascii(), line[sign + 1..].trim_ascii());
            let Some(known) = FIELDS.into_iter().find(|known| known.as_bytes() == name) else {
                continue;
            };
            let value = String::from_utf8_lossy(value).into_owned();
            if fields.values.insert(known, value).is_some() {
                return Err(HeaderError::Twice(known));
            }
            if known == LAST {
                return Ok(fields);
            }
        }
        let missing = HeaderError::Missing(LAST);
        Err(if fields.values.is_empty() { HeaderError::NotThis("MetaImage") } else { missing })
    }

    fn get(&self, name: &'static str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn needed(&self, name: &'static str) -> Result<&str, HeaderError> {
        self.get(name).ok_or(HeaderError::Missing(name))
    }

    /// The one of several names of a field that is there; all of them may say the same.
    fn one_of<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<Option<(&'static str, &str)>, HeaderError> {
        let mut there = names.into_iter().filter_map(|name| Some((name, self.get(name)?)));
        let Some((name, value)) = there.next() else { return Ok(None) };
        match there.find(|(_, another)| *another != value) {
            Some((other, _)) => Err(HeaderError::Contradiction(name, other)),
            None => Ok(Some((name, value))),
        }
    }

    fn truth(&self, name: &'static str) -> Result<Option<bool>, HeaderError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Ok(Some(true)),
            "false" | "f" | "0" => Ok(Some(false)),
            _ => Err(HeaderError::value(name, value, "True or False")),
        }
    }

    /// What would be read wrongly is refused here.
    fn refuse_other_images(&self) -> Result<(), HeaderError> {
        let only = |name: &'static str, expected: &[&str], todo| match self.get(name) {
            Some(value) if !expected.iter().any(|e| e.eq_ignore_ascii_case(value)) => {
                Err(HeaderError::unsupported(name, value, todo))
            }
            _ => Ok(()),
        };
        only("ObjectType", &["Image"], "give an image")?;
        self.needed("NDims")?;
        only("NDims", &["3"], "give one three-dimensional image")?;
        only("ElementNumberOfChannels", &["1"], "give an image with one value per voxel")?;
        only("DistanceUnits", &["mm", "?"], "write it in millimetres")?;
        only("HeaderSizePerSlice", &["0"], "write it again with ITK")?;
        if self.truth("BinaryData")? == Some(false) {
            let todo = "write it with BinaryData = True";
            return Err(HeaderError::unsupported("BinaryData", "False", todo));
        }
        for (name, neutral) in
            [("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)]
        {
            let Some(text) = self.get(name) else { continue };
            let [value] = numbers::<1>(name, text)?;
            if (value - neutral).abs() > 0.0 {
                let todo = "write the voxels in Hounsfield units";
                return Err(HeaderError::unsupported(name, text, todo));
            }
        }
        let name = self.needed(LAST)?;
        // A pattern may be "slice%03d.raw 1 100 1", a list may be "LIST 2D".
        if name.contains('%') || name.split_ascii_whitespace().next() == Some("LIST") {
            let todo = "write the voxels into one file, as .mha";
            return Err(HeaderError::unsupported(LAST, name, todo));
        }
        if name.is_empty() {
            return Err(HeaderError::value(LAST, name, "LOCAL or a file's name"));
        }
        Ok(())
    }

    fn sample(&self) -> Result<Sample, HeaderError> {
        Ok(match self.needed("ElementType")? {
            "MET_CHAR" => Sample::I8,
            "MET_UCHAR" => Sample::U8,
            "MET_SHORT" => Sample::I16,
            "MET_USHORT" => Sample::U16,
            "MET_INT" => Sample::I32,
            "MET_UINT" => Sample::U32,
            "MET_LONG_LONG" => Sample::I64,
            "MET_ULONG_LONG" => Sample::U64,
            "MET_FLOAT" => Sample::F32,
            "MET_DOUBLE" => Sample::F64,
            // MET_LONG has 4 bytes or 8, as the writer's machine had it.
            other => {
                let todo = "write it as MET_SHORT, or MET_USHORT for labels";
                return Err(HeaderError::unsupported("ElementType", other, todo));
            }
        })
    }

    fn big_endian(&self) -> Result<bool, HeaderError> {
        let names = ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"];
        let [a, b] = [self.truth(names[0])?, self.truth(names[1])?];
        if a.is_some() && b.is_some() && a != b {
            return Err(HeaderError::Contradiction(names[0], names[1]));
        }
        Ok(a.or(b).unwrap_or(false))
    }

    fn packing(&self, local: bool) -> Result<(Start, Encoding), HeaderError> {
        let skipped = self.get("HeaderSize").unwrap_or("0");
        let start = match skipped.parse::<i64>() {
            Ok(-1) => Start::AtEnd,
            Ok(bytes) if bytes >= 0 => Start::After(bytes.unsigned_abs()),
            _ => {
                return Err(HeaderError::value("HeaderSize", skipped, "a number of bytes or -1"));
            }
        };
        // MetaIO counts from the beginning of the file even there: a header that tells its own
        // length may mean that or the bytes after it.
        if local && !matches!(start, Start::AtEnd | Start::After(0)) {
            let todo = "delete HeaderSize, or give -1";
            return Err(HeaderError::unsupported("HeaderSize with LOCAL voxels,", skipped, todo));
        }
        if self.truth("CompressedData")? != Some(true) {
            return Ok((start, Encoding::Raw));
        }
        if start == Start::AtEnd {
            let todo = "give the number of bytes before the voxels";
            return Err(HeaderError::unsupported("HeaderSize of compressed voxels", "-1", todo));
        }
        // Some writers leave it out, leave it 0 or round it; the stream knows its own end.
        let length = self.get("CompressedDataSize").and_then(|text| text.parse().ok());
        let length = length.filter(|length| *length > 0);
        Ok((start, Encoding::Deflate { skip: 0, length }))
    }

    fn geometry(&self, shape: [usize; 3]) -> Result<Geometry, HeaderError> {
        let mut names = ["ElementSpacing", "ElementSize"].into_iter();
        let size = names.find_map(|name| Some((name, self.get(name)?)));
        let (name, text) = size.ok_or(HeaderError::Missing("ElementSpacing"))?;
        let [x, y, z] = numbers::<3>(name, text)?;
        let m = match self.one_of(["TransformMatrix", "Rotation", "Orientation"])? {
            Some((name, text)) => numbers::<9>(name, text)?,
            None => [1., 0., 0., 0., 1., 0., 0., 0., 1.],
        };
        let directions = [[m[6], m[7], m[8]], [m[3], m[4], m[5]], [m[0], m[1], m[2]]];
        let [left, back, up] = match self.one_of(["Offset", "Position", "Origin"])? {
            Some((name, text)) => numbers::<3>(name, text)?,
            None => [0.0; 3],
        };
        let origin = PointMm::new(left, back, up);
        Geometry::from_directions(shape, [z, y, x], directions, origin)
            .map_err(HeaderError::Geometry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header as LUNA16 has them: with both in-plane axes turned round.
    const LUNA: &str = "ObjectType = Image\nNDims = 3\nBinaryData = True\n\
        BinaryDataByteOrderMSB = False\nCompressedData = False\n\
        TransformMatrix = -1 0 0 0 -1 0 0 0 1\nOffset = 166 171.7 -340\n\
        CenterOfRotation = 0 0 0\nAnatomicalOrientation = RAI\n\
        ElementSpacing = 0.703125 0.703125 2.5\nDimSize = 512 511 133\n\
        ElementType = MET_SHORT\nElementDataFile = 1.3.6.1.raw\n";

    fn with(change: &str, to: &str) -> Result<Header, HeaderError> {
        assert!(LUNA.contains(change), "{change}");
        parse_header(LUNA.replacen(change, to, 1).as_bytes())
    }

    #[test]
    fn a_header_is_read() {
        let header = parse_header(LUNA.as_bytes()).unwrap();
        let g = header.geometry;
        let turned = Geometry {
            shape: [133, 511, 512],
            spacing_mm: [2.5, 0.703_125, 0.703_125],
            origin_mm: PointMm::new(166.0, 171.7, -340.0),
            axes: [[0., 0., 1.], [0., -1., 0.], [-1., 0., 0.]],
        };
        assert_eq!(g, turned);
        assert_eq!(header.data_file, Some(PathBuf::from("1.3.6.1.raw")));
        assert_eq!(header.layout.header_bytes, LUNA.len() as u64);
        assert_eq!(header.layout.sample, Sample::I16);
        assert!(!header.layout.big_endian && header.layout.encoding == Encoding::Raw);
    }

    #[test]
    fn the_matrix_holds_the_direction_of_x_first() {
        let header = with("-1 0 0 0 -1 0 0 0 1", "0 1 0 0 0 1 1 0 0").unwrap();
        assert_eq!(header.geometry.axes, [[1., 0., 0.], [0., 0., 1.], [0., 1., 0.]]);
    }

    #[test]
    fn other_names_and_defaults_are_understood() {
        for name in ["Position", "Origin"] {
            let header = with("Offset", name).unwrap();
            assert_eq!(header.geometry.origin_mm, PointMm::new(166.0, 171.7, -340.0));
        }
        for name in ["Rotation", "Orientation"] {
            let header = with("TransformMatrix", name).unwrap();
            assert_eq!(header.geometry, parse_header(LUNA.as_bytes()).unwrap().geometry);
        }
        let header = with("ElementSpacing", "ElementSize").unwrap();
        assert_eq!(header.geometry, parse_header(LUNA.as_bytes()).unwrap().geometry);
        let header = with("BinaryDataByteOrderMSB = False", "ElementByteOrderMSB = True").unwrap();
        assert!(header.layout.big_endian);
        let header = with("TransformMatrix = -1 0 0 0 -1 0 0 0 1\n", "").unwrap();
        assert_eq!(header.geometry.axes, crate::geometry::AXIAL);
        let header = with("Offset = 166 171.7 -340\n", "\r\n").unwrap();
        assert_eq!(header.geometry.origin_mm, PointMm::new(0.0, 0.0, 0.0));
        let header = with("1.3.6.1.raw", "LOCAL\r").unwrap();
        assert_eq!(header.data_file, None);
        let header = with("CompressedData = False", "CompressedData = True").unwrap();
        assert_eq!(header.layout.encoding, Encoding::Deflate { skip: 0, length: None });
        let header = with("= False\nTr", "= True\nCompressedDataSize = 99\nTr").unwrap();
        assert_eq!(header.layout.encoding, Encoding::Deflate { skip: 0, length: Some(99) });
        let header = with("NDims = 3", "NDims = 3\nHeaderSize = 16").unwrap();
        assert_eq!(header.layout.start, Start::After(16));
        let header = with("NDims = 3", "NDims = 3\nHeaderSize = -1").unwrap();
        assert_eq!(header.layout.start, Start::AtEnd);
    }

    #[test]
    fn what_is_not_read_is_told() {
        // What is wrong; the rest of a message says what to do.
        let cases = [
            ("= Image", "= Tube", "ObjectType Tube is not read"),
            ("s = 3", "s = 4", "NDims 4 is not read"),
            ("511 133", "511", "DimSize is \"512 511\", not three whole numbers above 0"),
            ("511 133", "511 -1", "DimSize is \"512 511 -1\", not three whole numbers above 0"),
            (
                "s = 3",
                "s = 3\nElementNumberOfChannels = 3",
                "ElementNumberOfChannels 3 is not read",
            ),
            ("Data = True", "Data = False", "BinaryData False is not read"),
            ("Data = True", "Data = Maybe", "BinaryData is \"Maybe\", not True or False"),
            ("MET_SHORT", "MET_LONG", "ElementType MET_LONG is not read"),
            ("0.703125 2.5", "0.7 0", "the header has no valid voxel size or origin"),
            ("0.703125 2.5", "nan", "ElementSpacing is \"0.703125 nan\", not three numbers"),
            ("-1 0 0 0 -1", "0", "TransformMatrix is \"0 0 0 0 1\", not nine numbers"),
            ("-1 0 0 0 -1", "0 0 0 0 -1", "the header has no valid voxel size or origin"),
            ("-1 0 0 0 -1", "1 0 0 0.2 1", "the header's axes are sheared"),
            ("s = 3", "s = 3\nNDims = 3", "the header has NDims twice"),
            (
                "s = 3",
                "s = 3\nHeaderSize = -2",
                "HeaderSize is \"-2\", not a number of bytes or -1",
            ),
            ("s = 3", "s = 3\nDistanceUnits = um", "DistanceUnits um is not read"),
            ("1.3.6.1.raw", "LIST", "ElementDataFile LIST is not read"),
            ("1.3.6.1.raw", "s%d.raw 1 9 1", "ElementDataFile s%d.raw 1 9 1 is not read"),
            ("1.3.6.1.raw", "", "ElementDataFile is \"\", not LOCAL or a file's name"),
            ("s = 3", "s = 3\n\u{1}\u{2}", "line 3 of the header is no field"),
        ];
        let told = |change: &str, to: &str| {
            with(change, to).map_or_else(|error| error.to_string(), |_| String::new())
        };
        for (change, to, message) in cases {
            let text = told(change, to);
            let (wrong, todo) = text.split_once("; ").unwrap_or((&text, ""));
            assert_eq!(wrong, message, "{change} -> {to}");
            assert!(!todo.is_empty());
        }
        for field in ["NDims", "DimSize", "ElementType", "ElementSpacing", "ElementDataFile"] {
            assert_eq!(
                told(field, "Comment"),
                format!(
                    "the header has no {field}; add it, or write the file again with a tool that does"
                )
            );
        }
        assert_eq!(
            told("512 511 133", "4000000000 4000000000 1"),
            "[1, 4000000000, 4000000000] voxels are more than any file holds; correct the header"
        );
        assert_eq!(
            told("Offset", "Origin = 1 2 3\nOffset"),
            "Offset and Origin say different things of the same; delete one of them"
        );
        assert_eq!(
            told("NDims", "ElementByteOrderMSB = True\nNDims"),
            "BinaryDataByteOrderMSB and ElementByteOrderMSB say different things of the same; \
             delete one of them"
        );
        assert_eq!(
            told("NDims", "ElementToIntensityFunctionSlope = 2\nNDims"),
            "ElementToIntensityFunctionSlope 2 is not read; write the voxels in Hounsfield units"
        );
        let local = LUNA.replace("1.3.6.1.raw", "LOCAL").replace("NDims", "HeaderSize = 9\nNDims");
        assert_eq!(
            parse_header(local.as_bytes()).unwrap_err().to_string(),
            "HeaderSize with LOCAL voxels, 9 is not read; delete HeaderSize, or give -1"
        );
        for other in ["", "NRRD0004\n", "\u{0}\u{1}\n\n", "a = b\n"] {
            let error = parse_header(other.as_bytes());
            assert_eq!(error, Err(HeaderError::NotThis("MetaImage")), "{other}");
        }
    }

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let error = with("512 511 133", &"9".repeat(100_000)).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_header(&bytes);
        }

        #[test]
        fn no_change_of_a_header_makes_it_panic(
            at in 0..LUNA.len(), byte in any::<u8>(), cut in 0..LUNA.len(),
        ) {
            let mut bytes = LUNA.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = parse_header(&bytes);
            prop_assert!(parse_header(&LUNA.as_bytes()[..cut]).is_err() || cut > LUNA.len() - 12);
        }
    }
}
