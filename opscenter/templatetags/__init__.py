"""What the admin's templates of this app can say."""
