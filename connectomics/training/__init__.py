"""From labelled volumes to a model: crops, augmentation, targets, losses, the schedule, validation by VOI."""
