"""Where images come from: hub data sets, folders of tables or pictures, and the embedded ones."""
