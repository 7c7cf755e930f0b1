//! The legend of a chart of curves.

use anyhow::{Result, anyhow};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::canvas::{FONT, px};

/// A chart of curves.
type Chart<'a, 'b> =
    ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What stands for a curve, from the place `(x, y)` on.
pub fn line_sample((x, y): (i32, i32), style: ShapeStyle) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + px(16) as i32, y)], style)
}

/// Names the curves that `chart` has so far in its `corner`.
pub fn draw_legend<'a, 'b: 'a>(
    chart: &mut Chart<'a, 'b>,
    corner: SeriesLabelPosition,
) -> Result<()> {
    let text = (FONT, px(12)).into_font();
    chart
        .configure_series_labels()
        .legend_area_size(px(22))
        .margin(px(6))
        .label_font(text.color(&RGBColor(0x66, 0x66, 0x66)))
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(0xcc, 0xcc, 0xcc))
        .position(corner)
        .draw()
        .map_err(|error| anyhow!("{error}"))
}
