//! The colours of the classes, and the shapes of their points.

use plotters::style::RGBColor;

/// Told apart with every common kind of colour blindness: Paul Tol's "muted" scheme, with a dark grey for its pale one,
/// which vanishes on white.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0x33, 0x22, 0x88),
    RGBColor(0xcc, 0x66, 0x77),
    RGBColor(0xdd, 0xcc, 0x77),
    RGBColor(0x11, 0x77, 0x33),
    RGBColor(0x88, 0xcc, 0xee),
    RGBColor(0x88, 0x22, 0x55),
    RGBColor(0x44, 0xaa, 0x99),
    RGBColor(0x99, 0x99, 0x33),
    RGBColor(0xaa, 0x44, 0x99),
    RGBColor(0x55, 0x55, 0x55),
];

/// The shapes of points, as far apart as a few pixels allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Disc,
    Square,
    Triangle,
    Ring,
    Plus,
    Diamond,
    Frame,
    Wedge,
    Star,
    Bar,
}

const SHAPES: [Shape; 10] = [
    Shape::Disc,
    Shape::Square,
    Shape::Triangle,
    Shape::Ring,
    Shape::Plus,
    Shape::Diamond,
    Shape::Frame,
    Shape::Wedge,
    Shape::Star,
    Shape::Bar,
];

/// The shape of the points of class `label`. With the colour it tells a hundred classes apart, and ten without it.
pub fn class_shape(label: usize) -> Shape {
    SHAPES[(label + label / COLOURS.len()) % SHAPES.len()]
}

/// The colour of class `label`; beyond ten classes they repeat.
pub fn class_colour(label: usize) -> RGBColor {
    COLOURS[label % COLOURS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_classes_differ_in_shape_and_a_hundred_in_shape_or_colour() {
        let looks = |label| {
            let RGBColor(red, green, blue) = class_colour(label);
            (class_shape(label), [red, green, blue])
        };
        for label in 0..100 {
            for other in 0..label {
                assert_ne!(looks(label), looks(other), "{label} and {other}");
                if label < 10 {
                    assert_ne!(class_shape(label), class_shape(other));
                }
            }
        }
    }
}
