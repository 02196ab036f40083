"""One evaluation for all recipes: what was played, beside its anchors, by the LiveBand protocol; no Lightning.

`clips_of` makes clips of what a model played, `evaluate` measures them and the anchors, `cells_of` puts the numbers
into a row of the table. A new measure is a new class.
"""
