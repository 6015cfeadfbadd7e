"""``vap eval mini``: the bundled model beside other ways to read a reference."""
