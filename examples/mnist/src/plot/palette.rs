//! The colours of the classes.

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

/// The colour of class `label`; beyond ten classes they repeat, and the labels in the picture tell them apart.
pub fn class_colour(label: usize) -> RGBColor {
    COLOURS[label % COLOURS.len()]
}
